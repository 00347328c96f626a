"""The state directory of the library, for persistent files of drivers: SSH host keys, tgt exports, CHAP credentials."""

from __future__ import annotations

import os
from pathlib import Path

from csi_cinderlib.cinderlib import checks
from csi_cinderlib.errors import ConfigurationError

VARIABLE = "CINDERLIB_LIBRARY_STATE_DIR"
OF_ROOT = Path("/var/lib/csi-cinderlib/library")


def make_directory() -> Path:
    """The state directory of this user, created if missing. Processes share it, and it is never removed.

    Raises:
        ConfigurationError: it cannot be created.
    """
    return made(_default())


def made(directory: Path | str, option: str = "state_dir") -> Path:
    """The directory, created if missing.

    Raises:
        InvalidRequest: it is not a path; names the option.
        ConfigurationError: it cannot be created; names the option.
    """
    path = checks.path(option, directory)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(option, f"cannot create {path}: {error.strerror}; set another directory") from error
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
        raise ConfigurationError("state_dir", "must be set, because this user has no home directory") from None
