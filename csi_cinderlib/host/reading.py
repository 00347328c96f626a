"""Reading a device itself, past what the page cache remembers of it."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csi_cinderlib.errors import HostError


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
    # Memory that is aligned to pages, as O_DIRECT wants it. Huge ones where the kernel has them: page faults cost more than reading.
    with mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as buffer:
        with suppress(OSError):
            buffer.madvise(mmap.MADV_HUGEPAGE)
        got = os.preadv(fd, [buffer], offset)
        if got != length:
            raise HostError(f"reading {device}: {got} bytes instead of {length} at offset {offset}")
        return buffer[:]
