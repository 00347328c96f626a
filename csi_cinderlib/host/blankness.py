"""Whether a device holds nothing at all. It is blank only if that is proven: no known signature is no proof (promise 23).

A loop device shows a file, of which the file system knows where data is: all of that is read, so nothing can be missed. Of any
other device both ends are read, a sample at each 4096th part, and every place at which a file system, volume manager or partition
table keeps its main or spare superblock, also where the device ended before it was grown.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel, loopctl
from csi_cinderlib.host.reading import open_direct, read

BLOCK = 4096
ENDS = 16 * 1024 * 1024
"""Bytes read at each end. They hold the first copies of the structures of all formats, also of those of a few hundred MiB."""
SAMPLES = 4096
_STEP = 4 * 1024 * 1024
_GIB, _MIB, _KIB = 1024**3, 1024**2, 1024
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2

Range = tuple[int, int]
"""Offset and length, in bytes."""


def is_blank(device: str) -> bool:
    """Whether the device is proven to hold zeros only, as far as the module's text says.

    Raises:
        HostError: a part of it could not be read, which is no proof of anything.
    """
    return next(nonzero(device), None) is None


def nonzero(device: str) -> Iterator[Range]:
    """The ranges, of those that are looked at, which do not read as zeros."""
    with kernel.named(f"reading {device}"):
        path = _backing_file(device)
        if path:
            yield from _nonzero_data(device, path)
        else:
            yield from _nonzero_places(device)


def erase(device: str) -> None:
    """Make a device blank on which nothing of value ever was: what is left of a file system whose mkfs did not end.

    The whole device is unmapped where it can be; otherwise everything that `is_blank` looks at and finds is overwritten.

    Raises:
        HostError: the device is in use (O_EXCL), or writing failed.
    """
    with kernel.named(f"clearing {device}"), kernel.opened(device, os.O_RDWR | os.O_EXCL) as fd:
        size = devices.open_size(fd, device)
        if not _punch(fd, size):
            for offset, length in list(nonzero(device)):
                _write_zeros(fd, offset, length)
        for offset, length in ((0, min(_MIB, size)), (size - min(_MIB, size), min(_MIB, size))):
            _write_zeros(fd, offset, length)
        os.fsync(fd)


def _punch(fd: int, size: int) -> bool:
    """Unmap all of a block device in such a way that it reads as zeros. False where the device cannot promise that."""
    length = size // BLOCK * BLOCK
    try:
        kernel.call("fallocate", fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, 0, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENODEV):
            raise
        return False
    _write_zeros(fd, length, size - length)
    return True


def _write_zeros(fd: int, offset: int, length: int) -> None:
    while length:
        done = os.pwrite(fd, bytes(min(length, _STEP)), offset)
        offset, length = offset + done, length - done


# --- a file on a loop device


def _backing_file(device: str) -> str:
    """The regular file of which a loop device shows all, as this process can open it; "" for every other device."""
    name = Path(device).resolve().name
    if not name.startswith("loop") or not name[4:].isdigit():
        return ""
    path = loopctl.backing_path(int(name[4:]))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - as the kernel names it
            return ""
    except OSError:
        return ""
    return path if devices.find_attached(path) == device else ""


def _nonzero_data(device: str, path: str) -> Iterator[Range]:
    with kernel.opened(device, os.O_RDONLY) as shown, kernel.opened(path, os.O_RDONLY) as file:
        os.fsync(shown)  # what was written to the device is in the file
        end = os.fstat(file).st_size
        if end < devices.open_size(shown, device):
            raise HostError(f"reading {device}: {path} has become shorter, so that its end cannot be read")
        for start, stop in _data(file, end):
            for offset in range(start, stop, _STEP):
                length = min(_STEP, stop - offset)
                if not _is_zero(os.pread(file, length, offset)):
                    yield offset, length


def _data(file: int, end: int) -> Iterator[Range]:
    """Start and end of each part that is no hole."""
    offset = 0
    while offset < end:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        offset = os.lseek(file, start, os.SEEK_HOLE)
        yield start, offset


# --- any other device


def _nonzero_places(device: str) -> Iterator[Range]:
    with open_direct(device) as fd:
        size = devices.open_size(fd, device)
        for offset, length in places(size):
            if not _is_zero(read(fd, device, offset, length)):
                yield offset, length


def _is_zero(data: bytes) -> bool:
    return data == bytes(len(data))  # twenty times as fast as a look at each byte


def places(size: int) -> Iterator[Range]:
    """What to read of a device of `size` bytes, in order and without overlaps; offsets are multiples of 4096."""
    tail = max(0, size - ENDS) // BLOCK * BLOCK
    ends = [(0, min(ENDS, size)), (tail, size - tail)]
    single = (place // BLOCK * BLOCK for place in _superblocks(size))
    samples = (number * size // SAMPLES // BLOCK * BLOCK for number in range(SAMPLES))
    blocks = ((place, BLOCK) for place in itertools.chain(single, samples))
    wanted = itertools.chain(ends, blocks, _former_ends(size))
    yield from _chunks(_merged((start, min(start + length, size)) for start, length in wanted if 0 <= start < size))


def _merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """Ranges given by start and end, sorted, those that meet made one."""
    last: Range | None = None
    for start, end in sorted(ranges):
        if last and start <= last[1]:
            last = (last[0], max(last[1], end))
        else:
            if last:
                yield last
            last = (start, end)
    if last:
        yield last


def _chunks(ranges: Iterable[Range]) -> Iterator[Range]:
    for start, end in ranges:
        for offset in range(start, end, _STEP):
            yield offset, min(_STEP, end - offset)


def _superblocks(size: int) -> Iterator[int]:
    """Main and spare superblocks away from both ends."""
    yield from _ext(size)
    yield from _xfs(size)
    yield from (64 * _MIB, 256 * _GIB)  # btrfs's mirrors
    yield from (_GIB << 2 * power for power in range(6))  # ocfs2's backups
    yield from (size // 2,)  # NTFS's mirror of the master file table


def _ext(size: int) -> Iterator[int]:
    """A group's first block, in the groups 1 and the powers of 3, 5 and 7, has a superblock ("sparse_super")."""
    for block in (1024, 2048, 4096, 65536):
        group = 8 * block * block
        for base in (3, 5, 7):
            for number in itertools.takewhile(lambda n: n * group < size, (base**power for power in range(25))):  # noqa: B023
                yield number * group + (1024 if block == 1024 else 0)


def _xfs(size: int) -> Iterator[int]:
    """Each allocation group begins with a superblock: 4 to 32 groups, or groups of 1 TiB less a block in a device of 4 TiB and more."""
    for count in (2, 4, 8, 16, 32):
        length = -(-size // BLOCK // count) * BLOCK
        yield from (number * length for number in range(1, count))
        yield from (place for unit in _STRIPES for place in _second_group(-(-size // count), unit))
    yield from range(_XFS_GROUP, size, _XFS_GROUP)
    yield from (place for unit in _STRIPES for place in _second_group(_XFS_GROUP, unit))


_XFS_GROUP = 1024 * _GIB - BLOCK
_STRIPES = tuple(BLOCK << power for power in range(13))
"""Up to 16 MiB: the stripe units that disks tell or an administrator gives."""


def _second_group(length: int, unit: int) -> Iterator[int]:
    """Where it may begin once mkfs.xfs has rounded the groups to the stripe unit, and kept them from beginning all on one disk."""
    rounded = -(-length // unit) * unit
    yield from (rounded + number * unit for number in (-2, -1, 0, 1))


_END_PLACES = (
    (32 * _KIB, 32 * _KIB),  # GPT's copy, md 1.0, NTFS's and HFS's copies, nilfs2, DRBD, RAID of BIOSes
    (128 * _KIB, 68 * _KIB),  # md 0.90, uberblocks of ZFS's last label
    (384 * _KIB, BLOCK),  # uberblocks of the label before
    (_MIB, BLOCK),  # LVM's second copy, bcachefs's last superblock
)
"""What is read of the end of a smaller device: distance from the end, and length."""


def _former_ends(size: int) -> Iterator[Range]:
    """Where the device ended before it was grown, if its size was a whole number of GiB, as all sizes of Cinder are."""
    return ((end - distance, length) for end in range(_GIB, size, _GIB) for distance, length in _END_PLACES)
