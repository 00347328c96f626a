"""The state directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.host.reserve import Reserve

KEY = "state_dir"
LOCK = "lock"


@contextmanager
def hold(path: Path) -> Iterator[Reserve]:
    """Make the directory and keep other processes out of it while this lasts. A killed process frees it.

    Yields the room that is kept back for a start on a full disk.

    Raises:
        ConfigurationError: another process has it (named), or it cannot be written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(KEY, f"{path} cannot be used: {error.strerror}") from None
    try:
        _lock(fd, path)
        reserve = Reserve(path / "start-reserve")
        reserve.fill()
        yield reserve
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        raise ConfigurationError(
            KEY, f"{path} is in use by process {holder or 'unknown'}; each process needs its own"
        ) from None
    with suppress(OSError):  # on a full disk the refusal of a second process names none
        os.pwrite(fd, f"{os.getpid():<31}\n".encode(), 0)
