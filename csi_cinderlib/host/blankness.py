"""The test whether a device is blank. The absence of known signatures is no proof (promise 23).

For a loop device, all data extents of its file are read, so no data can be missed. For other devices, the test reads both ends, a
sample at each of 4096 equal parts, and every location of a main or spare superblock of a file system, volume manager or partition
table, also relative to the former end of a grown device.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel, loopctl, unfinished
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.host.reading import open_direct, read
from csi_cinderlib.host.signatures import SPAN, TAIL

BLOCK = 4096
ENDS = 16 * 1024 * 1024
"""Bytes read at each end. They contain the first copies of the structures of all formats, even on devices of a few hundred MiB."""
SAMPLES = 4096
_STEP = 4 * 1024 * 1024
_GIB, _MIB, _KIB = 1024**3, 1024**2, 1024
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2

Range = tuple[int, int]
"""Offset and length, in bytes."""


def is_blank(device: str) -> bool:
    """Whether all locations that the test reads contain only zeros.

    Raises:
        HostError: a part of the device could not be read, so there is no proof.
    """
    return next(nonzero(device), None) is None


def nonzero(device: str) -> Iterator[Range]:
    """The ranges of the test that do not read as zeros."""
    with kernel.named(f"cannot read {device}"):
        path = _backing_file(device)
        if path:
            yield from _nonzero_data(device, path)
        else:
            yield from _nonzero_places(device)


def erase(proof: Disposable) -> None:
    """Erase a device with the mark of a creation that has not ended (`unfinished`), except the mark.

    The whole device is unmapped if it supports that. Otherwise the ranges that `is_blank` finds are overwritten.

    Raises:
        HostError: the device is in use (O_EXCL), or writing failed.
    """
    device = proof.device
    with kernel.named(f"cannot erase {device}"), kernel.opened(device, os.O_RDWR | os.O_EXCL) as fd:
        size = devices.open_size(fd, device)
        spared = unfinished.place(size)
        parts = ((0, size),) if spared is None else ((0, spared), (spared + unfinished.LENGTH, size))
        ends = ((0, min(_MIB, size)), (size - min(_MIB, size), size))
        for start, end in parts:
            if not _punch(fd, start, end):
                for offset, length in list(nonzero(device)):
                    _zero_within(fd, (offset, offset + length), (start, end))
            for at in ends:
                _zero_within(fd, at, (start, end))
        os.fsync(fd)


def clear_ends(mapped: str) -> None:
    """Zero the ends, in which formats are recognised, of a device that was just mapped with a new header (`luks.open`).

    It reads as random data, in which a short magic number would be found once in some ten thousand devices.

    Raises:
        HostError: the device is in use (O_EXCL), or writing failed.
    """
    with kernel.named(f"cannot clear {mapped}"), kernel.opened(mapped, os.O_RDWR | os.O_EXCL) as fd:
        size = devices.open_size(fd, mapped)
        head, tail = min(SPAN, size), min(TAIL, size)
        _write_zeros(fd, 0, head)
        _write_zeros(fd, size - tail, tail)
        os.fsync(fd)


def _punch(fd: int, start: int, end: int) -> bool:
    """Unmap a part of a block device so that it reads as zeros. False if the device does not guarantee that."""
    length = (end - start) // BLOCK * BLOCK
    try:
        kernel.call("fallocate", fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, start, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENODEV):
            raise
        return False
    _write_zeros(fd, start + length, end - start - length)
    return True


def _zero_within(fd: int, wanted: tuple[int, int], part: tuple[int, int]) -> None:
    """Write zeros where both ranges of start and end overlap."""
    start, end = max(wanted[0], part[0]), min(wanted[1], part[1])
    _write_zeros(fd, start, max(0, end - start))


def _write_zeros(fd: int, offset: int, length: int) -> None:
    while length:
        done = os.pwrite(fd, bytes(min(length, _STEP)), offset)
        offset, length = offset + done, length - done


# --- a file on a loop device


def _backing_file(device: str) -> str:
    """The regular file behind a loop device that shows all of it, by a path that this process can open; "" for other devices."""
    name = Path(device).resolve().name
    if not name.startswith("loop") or not name[4:].isdigit():
        return ""
    path = loopctl.backing_path(int(name[4:]))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the kernel's name of the file
            return ""
    except OSError:
        return ""
    return path if devices.find_attached(path) == device else ""


def _nonzero_data(device: str, path: str) -> Iterator[Range]:
    with kernel.opened(device, os.O_RDONLY) as shown, kernel.opened(path, os.O_RDONLY) as file:
        os.fsync(shown)  # flush writes to the device into the file
        end = os.fstat(file).st_size
        if end < devices.open_size(shown, device):
            raise HostError(f"cannot read {device}: its file {path} is shorter than the device")
        for start, stop in _data(file, end):
            for offset in range(start, stop, _STEP):
                length = min(_STEP, stop - offset)
                if not _is_zero(os.pread(file, length, offset)):
                    yield offset, length


def _data(file: int, end: int) -> Iterator[Range]:
    """Start and end of each data extent."""
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
    return data == bytes(len(data))  # twenty times as fast as a loop


def places(size: int) -> Iterator[Range]:
    """The ranges to read on a device of `size` bytes, sorted and without overlaps; offsets are multiples of 4096."""
    tail = max(0, size - ENDS) // BLOCK * BLOCK
    ends = [(0, min(ENDS, size)), (tail, size - tail)]
    single = (place // BLOCK * BLOCK for place in _superblocks(size))
    samples = (number * size // SAMPLES // BLOCK * BLOCK for number in range(SAMPLES))
    blocks = ((place, BLOCK) for place in itertools.chain(single, samples))
    wanted = itertools.chain(ends, blocks, _former_ends(size))
    yield from _chunks(_merged((start, min(start + length, size)) for start, length in wanted if 0 <= start < size))


def _merged(ranges: Iterable[Range]) -> Iterator[Range]:
    """Sort ranges of start and end, and merge adjacent ones."""
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
    """The locations of main and spare superblocks outside both ends."""
    yield from _ext(size)
    yield from _xfs(size)
    yield from (64 * _MIB, 256 * _GIB)  # btrfs's mirrors
    yield from (_GIB << 2 * power for power in range(6))  # ocfs2's backups
    yield from (size // 2,)  # NTFS's mirror of the master file table


def _ext(size: int) -> Iterator[int]:
    """With "sparse_super", group 1 and groups that are powers of 3, 5 and 7 start with a superblock."""
    for block in (1024, 2048, 4096, 65536):
        group = 8 * block * block
        for base in (3, 5, 7):
            for number in itertools.takewhile(lambda n: n * group < size, (base**power for power in range(25))):  # noqa: B023
                yield number * group + (1024 if block == 1024 else 0)


def _xfs(size: int) -> Iterator[int]:
    """Each allocation group starts with a superblock: 4 to 32 groups, or groups of 1 TiB less a block on devices from 4 TiB."""
    for count in (2, 4, 8, 16, 32):
        length = -(-size // BLOCK // count) * BLOCK
        yield from (number * length for number in range(1, count))
        yield from (place for unit in _STRIPES for place in _second_group(-(-size // count), unit))
    yield from range(_XFS_GROUP, size, _XFS_GROUP)
    yield from (place for unit in _STRIPES for place in _second_group(_XFS_GROUP, unit))


_XFS_GROUP = 1024 * _GIB - BLOCK
_STRIPES = tuple(BLOCK << power for power in range(13))
"""Stripe units up to 16 MiB, as reported by disks or set by an administrator."""


def _second_group(length: int, unit: int) -> Iterator[int]:
    """Possible starts after mkfs.xfs has rounded groups to the stripe unit and staggered them over the disks."""
    rounded = -(-length // unit) * unit
    yield from (rounded + number * unit for number in (-2, -1, 0, 1))


_END_PLACES = (
    (32 * _KIB, 32 * _KIB),  # GPT's copy, md 1.0, NTFS's and HFS's copies, nilfs2, DRBD, RAID of BIOSes
    (128 * _KIB, 68 * _KIB),  # md 0.90, uberblocks of ZFS's last label
    (384 * _KIB, BLOCK),  # uberblocks of the label before
    (_MIB, BLOCK),  # LVM's second copy, bcachefs's last superblock
)
"""Ranges to read at a former end of the device: distance from the end, and length."""


def _former_ends(size: int) -> Iterator[Range]:
    """Ranges at possible former ends of a grown device. Sizes in Cinder are whole GiB."""
    return ((end - distance, length) for end in range(_GIB, size, _GIB) for distance, length in _END_PLACES)
