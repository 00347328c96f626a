"""Reading a device itself, past what the page cache remembers of it."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csi_cinderlib.errors import HostError

_HUGE_PAGE = 2 * 1024 * 1024


@contextmanager
def open_direct(device: str) -> Iterator[int]:
    """A descriptor for reading past the page cache, which may hold what the device showed before somebody else wrote to it.

    Raises:
        OSError
    """
    try:
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def read(fd: int, device: str, offset: int, length: int) -> bytes:
    """All of `length` bytes at `offset`.

    Raises:
        OSError
        HostError: the device gave fewer.
    """
    with load(fd, device, offset, length) as buffer:
        return buffer[:]


def load(fd: int, device: str, offset: int, length: int) -> mmap.mmap:
    """`read` without a copy, for parts so large that other threads would wait while it is made."""
    buffer = _aligned(length)
    with memoryview(buffer)[:length] as part:
        got = os.preadv(fd, [part], offset)
    if got != length:
        raise HostError(f"reading {device}: {got} bytes instead of {length} at offset {offset}")
    buffer.resize(length)
    return buffer


def _aligned(length: int) -> mmap.mmap:
    """Memory that is aligned to pages, as O_DIRECT wants it.

    Huge pages where the kernel has them, since page faults cost more than reading. It aligns only a whole number of them.
    """
    if length < _HUGE_PAGE:
        return mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer = mmap.mmap(-1, -(-length // _HUGE_PAGE) * _HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        buffer.madvise(mmap.MADV_HUGEPAGE, 0, length // _HUGE_PAGE * _HUGE_PAGE)
    return buffer
