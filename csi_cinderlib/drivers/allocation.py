"""Thin and thick files: space for a file's holes is allocated, or unwritten space is released. Never changes data.

Raises OSError, and NoRoom.
"""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from collections.abc import Iterable, Iterator

from csi_cinderlib.drivers import extents
from csi_cinderlib.drivers.directories import Directory, NoRoom
from csi_cinderlib.host import kernel

SPEC = "provisioning:type"
"""Cinder's extra spec for thin or thick volumes."""
THIN, THICK = "thin", "thick"
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_UNSHARE = 0x40
"""The modes of fallocate(2); Python has none. `os.posix_fallocate` may write to the file, which is unsafe while others write to it."""
_STEP = 64 * 1024 * 1024
_PROBE = 4096
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def is_thick(kind: object) -> bool:
    """Whether Cinder's volume type, or None, asks for a thick volume."""
    return (getattr(kind, "extra_specs", None) or {}).get(SPEC) == THICK


def is_supported(pool: Directory) -> bool:
    """Whether the pool's file system can allocate space (fallocate). True if that cannot be found out now, for example on a full disk."""
    try:
        with pool.incomplete("probe") as (fd, _):
            kernel.call("fallocate", fd, _KEEP_SIZE, 0, _PROBE)
    except OSError as error:
        return error.errno not in _UNSUPPORTED
    return True


class Filled:
    """The holes that were filled, 16 bytes for each, so that exactly these can be released again. None are kept if there are more than `most`."""

    def __init__(self, most: int = 1_000_000) -> None:
        self._most = most
        self._offsets: array[int] | None = array("Q")

    def note(self, start: int, stop: int) -> None:
        """Before the call: a call that fails may have filled a part."""
        if self._offsets is not None and len(self._offsets) < 2 * self._most:
            self._offsets.extend((start, stop))
        else:
            self._offsets = None

    def ranges(self) -> Iterator[extents.Range]:
        pairs = iter(self._offsets or ())
        return zip(pairs, pairs, strict=True)


def allocate(pool: Directory, fd: int, *, size: int = 0, filled: Filled | None = None) -> None:
    """Allocate space for all of an open file, so that no write to it can fail on a full disk. Safe while others write to it.

    Data that is shared with a copy gets its own space where the file system supports that (XFS). Space is allocated in steps, so that
    writers wait for one step at most, and only where it is lacking: XFS would demand that all of the file fits again.

    Args:
        size: bytes to which the file will be extended next; its size is not changed here.
        filled: gets the holes that are filled, unless the file system has no map of files.

    Raises:
        NoRoom: before the first step if all of it does not fit, or later if others have taken the space.
    """
    state = os.fstat(fd)
    size = max(size, state.st_size)
    try:
        missing, unshares = _missing(fd, size)
    except extents.NoMap:
        _check_room(pool, size - state.st_blocks * 512)
        for start, stop in extents.Lack(0, size).steps(_STEP):
            kernel.call("fallocate", fd, _KEEP_SIZE, start, stop - start)
    else:
        _check_room(pool, missing)
        _allocate_lacking(pool, fd, size, unshares=unshares, filled=filled or Filled())
    os.fsync(fd)


def _missing(fd: int, size: int) -> tuple[int, bool]:
    """The bytes that are lacking, and whether shared data gets its own space."""
    holes = shared = 0
    unshares = True
    for lack in extents.lacking(fd, size):
        if not lack.shared:
            holes += lack.stop - lack.start
            continue
        if not shared:
            unshares = _unshare(fd, lack.start, _PROBE)
        shared += lack.stop - lack.start
    return holes + shared * unshares, unshares


def _allocate_lacking(pool: Directory, fd: int, size: int, *, unshares: bool, filled: Filled) -> None:
    for lack in extents.lacking(fd, size):
        if lack.shared and not unshares:
            continue
        for start, stop in lack.steps(_STEP):
            _check_room(pool, stop - start)
            if lack.shared:
                _unshare(fd, start, stop - start)
            else:
                filled.note(start, stop)
                kernel.call("fallocate", fd, _KEEP_SIZE, start, stop - start)


def fill(pool: Directory, name: str, *, size: int = 0) -> None:
    """`allocate` for a file of the pool. If it fails, the space that was allocated after the end of the file is released."""
    with kernel.opened(pool.file(name), os.O_RDWR) as fd:
        pool.check_room(max(0, size - os.fstat(fd).st_size))
        try:
            allocate(pool, fd, size=size)
        except (NoRoom, OSError):
            with contextlib.suppress(OSError):
                os.ftruncate(fd, os.fstat(fd).st_size)
            raise


def make_thick(pool: Directory, name: str, *, in_use: bool) -> None:
    """`allocate` for a file of the pool. After a failure the holes that were filled are holes again.

    They stay filled, and the next attempt continues, if nodes may write to the file, if the file system has no map of files, or if they
    are more than can be remembered.
    """
    filled = Filled()
    with kernel.opened(pool.file(name), os.O_RDWR) as fd:
        pool.check()
        try:
            allocate(pool, fd, filled=filled)
        except (NoRoom, OSError):
            if not in_use:
                with contextlib.suppress(OSError):
                    _release(fd, filled.ranges())
            raise


def _unshare(fd: int, offset: int, length: int) -> bool:
    """Give shared data its own space. False if the file system cannot do that."""
    try:
        kernel.call("fallocate", fd, _UNSHARE | _KEEP_SIZE, offset, length)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True


def _check_room(pool: Directory, missing: int) -> None:
    now, reserved = pool.capacity(), pool.limits.reserved_percentage
    if missing > 0 and missing > now.free - now.total * reserved / 100:
        raise NoRoom(
            f"pool {pool.name!r} ({pool.path}): {missing} bytes more are needed; {now.free} bytes are free, "
            f"{reserved:g} % of the total are reserved"
        )


def release(pool: Directory, name: str) -> None:
    """Release the space of a file that was never written to. No other process may write to the file meanwhile."""
    with kernel.opened(pool.file(name), os.O_RDWR) as fd:
        pool.check()
        _release(fd, ((0, os.fstat(fd).st_size),))


def trim(fd: int) -> None:
    """Release the unwritten space that a new copy shares with a thick source, so that writes to the source need no further space."""
    state = os.fstat(fd)
    if state.st_blocks * 512 >= state.st_size:
        _release(fd, ((0, state.st_size),))


def _release(fd: int, ranges: Iterable[extents.Range]) -> None:
    """Punch, in these ranges, only where the file system itself finds no data (SEEK_DATA): that reads as zeros before and after."""
    os.fsync(fd)  # unwritten space with data in memory only is no hole then
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # ext4 and XFS show unwritten space that was read as data
    for start, stop in ranges:
        if not _punch_empty(fd, start, stop):
            return
    os.fsync(fd)


def _punch_empty(fd: int, start: int, stop: int) -> bool:
    """False if the file system cannot release space."""
    while start < stop:
        data = min(_next_data(fd, start, stop), stop)
        if data > start and not _punch(fd, start, data - start):
            return False
        start = os.lseek(fd, data, os.SEEK_HOLE) if data < stop else stop
    return True


def _next_data(fd: int, offset: int, size: int) -> int:
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole is left
            return size
        raise


def _punch(fd: int, offset: int, length: int) -> bool:
    """False if the file system cannot release space."""
    try:
        kernel.call("fallocate", fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True
