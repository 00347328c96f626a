"""The state directory belongs to one process at a time.

Its lock is on a file, and the kernel frees it when the process has ended: unless a thread of a killed process waits in the kernel for a
share that hangs, which may be for ever. Then the next process proves that the holder runs no program code any more (`host.processes`),
and puts a new file, which it has locked, in the place of the locked one. Whoever takes the lock holds another lock meanwhile, on a
file that is never replaced: so two processes cannot both take it, and none looks at a file that is no longer in its place.
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
"""Locked while somebody looks for the holder of the lock, or becomes it."""
ENDING_SECONDS = 10.0
"""For a holder that has been killed, and for others that take the lock at the same moment."""
_LONGEST = 128
_log = logs.logger(__name__)


class _Held(Exception):
    """Another process has the lock."""

    def __init__(self, holder: processes.Process | None) -> None:
        super().__init__()
        self.holder = holder
        self.may_end = holder is not None and processes.is_ending(holder)


def reserve(path: Path) -> Reserve:
    """The room that is kept back for a start on a full disk."""
    return Reserve(path / "start-reserve")


@contextmanager
def hold(path: Path) -> Iterator[Reserve]:
    """Make the directory and keep other processes out of it while this lasts. A killed process frees it.

    Yields the room that is kept back for a start on a full disk.

    Raises:
        ConfigurationError: another process has it (named), or it cannot be written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _take(path)
    except OSError as error:
        raise ConfigurationError(KEY, f"{path} cannot be used: {error.strerror}") from None
    try:
        kept = reserve(path)
        kept.fill()
        yield kept
    finally:
        os.close(fd)


def _take(path: Path) -> int:
    """The locked file, open. Waits for a holder that is being ended. Raises OSError, ConfigurationError."""
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
            raise ConfigurationError(KEY, f"{path} is in use by another process, which is just starting")
        time.sleep(0.01)
        fd, is_locked = _opened(path / GUARD)
    try:
        yield
    finally:
        os.close(fd)


def _try(path: Path) -> int:
    """With the guard held. Raises OSError; _Held."""
    fd, is_locked = _opened(path / LOCK)
    if is_locked:
        _sign(fd)
        return fd
    holder = processes.parse(os.pread(fd, _LONGEST, 0).decode(errors="replace"))
    os.close(fd)
    if holder is None or not holder.can_be_told or not processes.is_over(holder):
        raise _Held(holder)
    fd = _replaced(path)
    _log.warning("took over from a process that was killed and hangs in the kernel", process=holder.pid)
    return fd


def _replaced(path: Path) -> int:
    """A new file in the place of the locked one."""
    fd, is_locked = _opened(path / f"{LOCK}.new")
    if not is_locked:  # by what is no process of ours: they hold the guard
        os.close(fd)
        raise _Held(None)
    _sign(fd)
    (path / f"{LOCK}.new").rename(path / LOCK)
    return fd


def _opened(path: Path) -> tuple[int, bool]:
    """The open file, and whether it is locked now. Raises OSError."""
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
    """Always as long, so that an earlier text is overwritten where it is."""
    with suppress(OSError):  # on a full disk the refusal of a second process names none
        os.pwrite(fd, f"{processes.this()!s:<{_LONGEST - 1}}\n".encode(), 0)
