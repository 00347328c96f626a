"""Which parts of a file lack space of their own: holes, and data that is shared with another file. Raises OSError."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from csi_cinderlib.host import kernel

_FIEMAP = 0xC020660B
_SYNC = 0x1
_LAST, _SHARED = 0x1, 0x2000
_HEADER = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQQQLLLL")
"""linux/fiemap.h."""
_AT_ONCE = 512
_NO_MAP = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)
Range = tuple[int, int]
"""The offsets of its first byte and of the byte after it."""


class NoMap(Exception):
    """The file system has no map of files (tmpfs, NFS)."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A range without space of its own: a hole, or data that is shared with another file."""

    start: int
    stop: int
    shared: bool = False

    def steps(self, longest: int) -> Iterator[Range]:
        """The range in pieces of at most `longest` bytes."""
        for offset in range(self.start, self.stop, longest):
            yield offset, min(offset + longest, self.stop)


def lacking(fd: int, end: int) -> Iterator[Lack]:
    """The ranges below `end`, which may be after the end of the file, in order. A page of the map is in memory at a time.

    Raises NoMap.
    """
    return divide(_extents(fd, end), end)


def divide(found: Iterable[tuple[int, int, bool]], end: int) -> Iterator[Lack]:
    """The ranges below `end`, from a map of start, end and whether the extent is shared. Pure."""
    done = 0
    for start, stop, is_shared in found:
        if start > done:
            yield Lack(done, min(start, end))
        if is_shared and start < end:
            yield Lack(max(start, done), min(stop, end), shared=True)
        done = max(done, stop)
        if done >= end:
            return
    if done < end:
        yield Lack(done, end)


def _extents(fd: int, end: int) -> Iterator[tuple[int, int, bool]]:
    start = 0
    while start < end:
        answer = bytearray(_HEADER.size + _AT_ONCE * _EXTENT.size)
        _HEADER.pack_into(answer, 0, start, end - start, _SYNC, 0, _AT_ONCE, 0)
        _read(fd, answer)
        count = _HEADER.unpack_from(answer)[3]
        if not count:
            return
        for number in range(count):
            logical, _, size, _, _, flags, *_ = _EXTENT.unpack_from(answer, _HEADER.size + number * _EXTENT.size)
            yield logical, logical + size, bool(flags & _SHARED)
            start = logical + size
            if flags & _LAST:
                return


def _read(fd: int, answer: bytearray) -> None:
    try:
        kernel.ioctl(fd, _FIEMAP, answer)
    except OSError as error:
        if error.errno not in _NO_MAP:
            raise
        raise NoMap from error
