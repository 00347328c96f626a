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
    with _aligned(length) as buffer, memoryview(buffer)[:length] as part:
        got = os.preadv(fd, [part], offset)
        if got != length:
            raise HostError(f"reading {device}: {got} bytes instead of {length} at offset {offset}")
        return bytes(part)


def _aligned(length: int) -> mmap.mmap:
    """Memory that is aligned to pages, as O_DIRECT wants it.

    Whole huge pages where the kernel has them: page faults cost more than reading, and it aligns nothing else to huge pages.
    """
    if length < _HUGE_PAGE:
        return mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer = mmap.mmap(-1, -(-length // _HUGE_PAGE) * _HUGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer
