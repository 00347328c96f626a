"""Exclusive use of the state directory by one process.

The lock is on a file. The kernel releases it when the process has ended, unless a thread of a killed process waits in the kernel for a
hanging share, possibly for ever. In that case the next process proves that the holder no longer runs program code (`host.processes`), and
replaces the locked file with a new file that it has locked. A process holds a second lock, on a file that is never replaced, while it
takes the first one. So two processes cannot both take it, and no process checks a replaced file.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.host import processes
from csi_cinderlib.host.reserve import Reserve
from csi_cinderlib.observe import logs

KEY = "state_dir"
LOCK = "lock"
GUARD = "lock-guard"
"""Locked while a process examines the holder of the lock or takes the lock."""
ENDING_SECONDS = 10.0
"""Time to wait for a killed holder to end, and for other processes that take the lock at the same moment."""
_LONGEST = 128
_log = logs.logger(__name__)


class _Held(Exception):
    """Another process has the lock."""

    def __init__(self, holder: processes.Process | None) -> None:
        super().__init__()
        self.holder = holder
        self.may_end = holder is not None and processes.is_ending(holder)


def reserve(path: Path) -> Reserve:
    """The reserved space for a start on a full disk."""
    return Reserve(path / "start-reserve")


@contextmanager
def hold(path: Path) -> Iterator[Reserve]:
    """Create the directory and lock out other processes. A killed process releases it.

    Yields the reserved space for a start on a full disk.

    Raises:
        ConfigurationError: another process uses it, or it is not writable.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _take(path)
    except OSError as error:
        raise ConfigurationError(KEY, f"cannot use the directory {path}: {error.strerror}") from None
    try:
        kept = reserve(path)
        kept.fill()
        yield kept
    finally:
        os.close(fd)


def _take(path: Path) -> int:
    """The descriptor of the locked file. Waits for a holder that is ending. Raises OSError, ConfigurationError."""
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        try:
            with _guarded(path, deadline):
                return _try(path)
        except _Held as held:
            if not held.may_end or time.monotonic() > deadline:
                holder = held.holder.pid if held.holder else "unknown"
                raise ConfigurationError(
                    KEY, f"{path} is in use by process {holder}; each process needs its own"
                ) from None
        time.sleep(0.05)


@contextmanager
def _guarded(path: Path, deadline: float) -> Iterator[None]:
    fd, is_locked = _opened(path / GUARD)
    while not is_locked:
        os.close(fd)
        if time.monotonic() > deadline:
            raise ConfigurationError(KEY, f"{path} is in use by another process that is starting")
        time.sleep(0.01)
        fd, is_locked = _opened(path / GUARD)
    try:
        yield
    finally:
        os.close(fd)


def _try(path: Path) -> int:
    """Take the lock. The caller holds the guard. Raises OSError, _Held."""
    fd, is_locked = _opened(path / LOCK)
    if is_locked:
        _sign(fd)
        return fd
    holder = processes.parse(os.pread(fd, _LONGEST, 0).decode(errors="replace"))
    os.close(fd)
    if holder is None or not holder.can_be_told or not processes.is_over(holder):
        raise _Held(holder)
    fd = _replaced(path)
    _log.warning(
        "state directory taken over", process=holder.pid, reason="the process was killed and hangs in the kernel"
    )
    return fd


def _replaced(path: Path) -> int:
    """Replace the locked file with a new one."""
    fd, is_locked = _opened(path / f"{LOCK}.new")
    if not is_locked:  # by a foreign process: processes of this driver hold the guard
        os.close(fd)
        raise _Held(None)
    _sign(fd)
    (path / f"{LOCK}.new").rename(path / LOCK)
    return fd


def _opened(path: Path) -> tuple[int, bool]:
    """The descriptor of the file, and whether it could be locked. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return fd, False
    except BaseException:
        os.close(fd)
        raise
    return fd, True


def _sign(fd: int) -> None:
    """Write the id of this process with a fixed length, so that it overwrites an earlier one in place."""
    with suppress(OSError):  # on a full disk, the error of a second process does not name this one
        os.pwrite(fd, f"{processes.this()!s:<{_LONGEST - 1}}\n".encode(), 0)
