"""Small files, one per volume, that survive the loss of power: each is there as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from csi_cinderlib.host import kernel

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_UNFINISHED = ".new"


def prepare(directory: Path) -> None:
    """Make the directory, readable by root alone, and sweep what a crash left unfinished. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in directory.glob(f"*{_UNFINISHED}"):  # the old file still counts
        left.unlink()


def store(path: Path, content: bytes) -> None:
    """Write the file so that it survives the loss of power right afterwards.

    Raises:
        OSError: it could not be stored; the previous one is still there.
    """
    replace(path, content)
    _sync(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Write the file so that it survives the end of this process. After the loss of power the previous one may be there instead.

    Raises:
        OSError: it could not be written; the previous one is still there.
    """
    unfinished = path.with_name(path.name + _UNFINISHED)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def remove(path: Path) -> None:
    """Remove the file for good; nothing happens when it is gone already. Raises OSError."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    with kernel.opened(str(directory), os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def name_of(volume_id: str) -> str:
    """A file name for any volume id, and another one for each."""
    reserved = volume_id.startswith("sha256-") or volume_id.endswith(_UNFINISHED)
    return volume_id if _PLAIN_NAME.fullmatch(volume_id) and not reserved else _hashed(volume_id)


def _hashed(volume_id: str) -> str:
    import hashlib  # brings OpenSSL's 3 MB, and our own ids are plain

    return f"sha256-{hashlib.sha256(volume_id.encode()).hexdigest()}"
