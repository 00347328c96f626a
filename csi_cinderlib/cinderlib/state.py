"""Where the library keeps what drivers must find again in the next process: SSH host keys, exports of tgt, credentials of CHAP."""

from __future__ import annotations

import os
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError

VARIABLE = "CINDERLIB_LIBRARY_STATE_DIR"
OF_ROOT = Path("/var/lib/csi-cinderlib/library")


def make_directory() -> Path:
    """The state directory of this user, made if it is not there. Processes share it, and nothing removes it.

    Raises:
        ConfigurationError: it cannot be made.
    """
    path = _default()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError("state_dir", f"cannot be {path}: {error.strerror}; name another directory") from error
    return path


def _default() -> Path:
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if os.geteuid() == 0:
        return OF_ROOT
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else _home() / ".local" / "state") / "csi-cinderlib" / "library"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigurationError("state_dir", "is missing: this user has no home directory") from None
