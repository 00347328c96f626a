"""Copy sparse files by reflink if the file system supports it, else copy the data and keep the holes. Raises OSError."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence

from csi_cinderlib.host import kernel

_FICLONE = 0x40049409
_NO_REFLINK = frozenset((errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM))
_NO_KERNEL_COPY = frozenset((errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS))
_STEP = 64 * 1024 * 1024
_BUFFER = 4 * 1024 * 1024
_CLOCK_REALTIME_COARSE = 5
"""The clock for file timestamps; Python has no constant for it."""
_TICK = 0.001
_TICKS = 20
"""Older kernels update file timestamps only every 10 ms."""


def clone(source: int, target: int, size: int) -> None:
    """Copy an open file to an open, empty file and set its length to `size` bytes.

    A reflink shares the data: it takes no time and no space, and is a point-in-time copy. A plain copy is not: see `undisturbed`.
    """
    if not reflink(source, target):
        copy(source, target)
    os.ftruncate(target, size)


def clone_path(source: str, target: int, size: int) -> None:
    """`clone` from a path, into an open file that is truncated first."""
    os.ftruncate(target, 0)
    with kernel.opened(source, os.O_RDONLY) as fd:
        clone(fd, target, size)


def clone_at_one_moment(source: str, target: int, size: int) -> bool:
    """As `clone_path`, for a file that may be written to. False if no copy could be made between writes."""
    os.ftruncate(target, 0)
    with kernel.opened(source, os.O_RDONLY) as fd:
        if not reflink(fd, target) and not undisturbed([source], lambda: clone_path(source, target, size)):
            return False
    os.ftruncate(target, size)
    return True


def reflink(source: int, target: int) -> bool:
    """Share the source's data with the target. False if that is not supported for these files."""
    try:
        kernel.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
        return False
    return True


def copy(source: int, target: int) -> None:
    """Copy the parts that hold data; the rest of the target stays a hole."""
    end = os.fstat(source).st_size
    os.ftruncate(target, end)
    offset = 0
    while offset < end:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        offset = os.lseek(source, start, os.SEEK_HOLE)
        _copy_range(source, target, start, offset)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    in_kernel = True
    while start < end:
        if in_kernel:
            try:
                done = os.copy_file_range(source, target, min(_STEP, end - start), start, start)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
                in_kernel = False
                continue
        else:
            done = os.pwrite(target, os.pread(source, min(_BUFFER, end - start), start), start)
        if not done:
            raise OSError(errno.EIO, "the file was truncated during the copy")
        start += done


def undisturbed(paths: Sequence[str], action: Callable[[], None], *, attempts: int = 5) -> bool:
    """Run `action`, and repeat it until no file was written to while it ran.

    It then saw all files at one point in time. False if the files were written to during each attempt.
    """
    for _ in range(attempts):
        before = _settled(paths)
        action()
        if before is not None and _stamps(paths) == before:
            return True
    return False


def _settled(paths: Sequence[str]) -> list[tuple[int, int]] | None:
    """The files' stamps, as soon as any further write would change them; None if they change continuously."""
    first = stamps = _stamps(paths)
    for _ in range(_TICKS):
        now = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
        if all(mtime < now for mtime, _ in stamps):
            return stamps
        time.sleep(_TICK)
        stamps = _stamps(paths)
    return stamps if stamps == first else None  # a file server's clock may be ahead of ours


def _stamps(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Open each file again, because a shared file system then revalidates its attributes with the server."""
    found = []
    for path in paths:
        with kernel.opened(path, os.O_RDONLY) as fd:
            state = os.fstat(fd)
        found.append((state.st_mtime_ns, state.st_size))
    return found


def is_plain_file(path: str) -> bool:
    """Whether the path is a regular file, not a symbolic link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False
