"""Small files, one per volume, that survive a power loss. Each file is complete or absent."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from csi_cinderlib.host import kernel

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_UNFINISHED = ".new"


def prepare(directory: Path) -> None:
    """Create the directory, readable by root only, and remove unfinished files of a crash. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in directory.glob(f"*{_UNFINISHED}"):  # the old file is still valid
        left.unlink()


def store(path: Path, content: bytes) -> None:
    """Write the file. It survives an immediate power loss.

    Raises:
        OSError: the file could not be stored; the previous one is unchanged.
    """
    replace(path, content, synced=True)
    _sync(path.parent)


def replace(path: Path, content: bytes, *, synced: bool = False) -> None:
    """Replace the file atomically for readers. After a power loss it may be the previous one, or empty. Raises OSError.

    Args:
        synced: sync the content before it replaces the previous file.
    """
    unfinished = f"{path}{_UNFINISHED}"
    with kernel.opened(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode=0o600) as fd:
        try:
            kernel.write(fd, content)
            if synced:
                os.fsync(fd)
            os.rename(unfinished, path)  # noqa: PTH104
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)  # noqa: PTH108
            raise


def remove(path: Path) -> None:
    """Remove the file durably, if it exists. Raises OSError."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    with kernel.opened(str(directory), os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def name_of(volume_id: str) -> str:
    """A unique file name for any volume id."""
    reserved = volume_id.startswith("sha256-") or volume_id.endswith(_UNFINISHED)
    return volume_id if _PLAIN_NAME.fullmatch(volume_id) and not reserved else hashed(volume_id)


def hashed(volume_id: str) -> str:
    """A unique name of 71 characters."""
    import hashlib  # loads OpenSSL (3 MB), which our own ids do not need

    return f"sha256-{hashlib.sha256(volume_id.encode()).hexdigest()}"
