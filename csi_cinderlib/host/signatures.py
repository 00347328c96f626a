"""Detection of a device's content from its superblocks. An unreadable device is an error, never "nothing found" (promise 1)."""

from __future__ import annotations

import errno
import mmap
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import kernel
from csi_cinderlib.host.devices import open_size
from csi_cinderlib.host.magics import MAGICS, Kind
from csi_cinderlib.host.reading import fill, is_zero, memory, open_direct
from csi_cinderlib.model.size import Bytes

SPAN = (4 * 1024 + 64) * 1024
"""Bytes read at the head of a device. They contain all known first superblocks; the last is LUKS2's second header at 4 MiB."""
TAIL = 2 * 1024 * 1024
"""The maximum number of bytes read at the end. Promise RAID has the farthest superblock, 1.5 MiB before the end."""

Content = bytes | mmap.mmap
"""A part of a device."""
_BLKGETZONESZ = 0x80041284


@dataclass(frozen=True, slots=True)
class Signature:
    """The content found on a device.

    Attributes:
        name: "ext4", "xfs", "btrfs", "luks2", "lvm2", "gpt" ...
        size: bytes that the file system covers, or 0 if not known here.
        dirty: ext only: the kernel has recorded errors, so the file system needs a check before it is mounted.
        unfinished: xfs only: mkfs did not complete, so the file system was never mounted. The other mkfs tools write their
            magic number last.
        has_log: btrfs only: a log must be replayed before the file system is mounted.
    """

    name: str
    kind: Kind = Kind.OTHER
    uuid: str = ""
    label: str = ""
    size: Bytes = Bytes(0)
    block_size: int = 0
    dirty: bool = False
    unfinished: bool = False
    has_log: bool = False


FILE_SYSTEM_SPAN = 128 * 1024
"""Enough to recognise ext, XFS and btrfs."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The content of the first `SPAN` and the last `TAIL` bytes of a device.

    Attributes:
        zero: both parts were read completely and contain only zeros. Always False if they overlap, or for a zoned device, which
            has its superblocks elsewhere.
    """

    signature: Signature | None = None
    zero: bool = False


def probe(device: str, *, span: int = SPAN) -> Signature | None:
    """The content of the device, or None if nothing known was found. None does not mean that the device is blank.

    Args:
        span: bytes to read at the head, and the maximum at the end.

    Raises:
        HostError: this is not a block device, its size is 0, or a block could not be read.
    """
    return probe_ends(device, span=span).signature


def probe_ends(device: str, *, span: int = SPAN) -> Ends:
    """`probe`, and whether both ends contain only zeros."""
    with kernel.named(f"cannot read {device}"), open_direct(device) as fd:
        size = open_size(fd, device)
        if not size:
            raise HostError(f"cannot read {device}: its size is 0; the device is not ready or was removed")
        with _memory(min(span, size)) as head, _memory(min(span, TAIL, size)) as tail:
            fill(head, fd, device, 0)
            fill(tail, fd, device, size - len(tail))
            if is_zero(head) and is_zero(tail):  # no signature consists of zeros
                return Ends(zero=span >= SPAN and size >= SPAN + TAIL and not _is_zoned(fd))
            return Ends(recognise(head, tail, size))


def _is_zoned(fd: int) -> bool:
    """Raises OSError."""
    sectors = bytearray(4)
    try:
        kernel.ioctl(fd, _BLKGETZONESZ, sectors)
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EINVAL):  # Linux before 4.20 does not support the ioctl
            raise
        return True
    return any(sectors)


_KEPT = {SPAN: 1, TAIL: 1, FILE_SYSTEM_SPAN: 2}
"""How many buffers of each size are kept for reuse. Allocating one takes ten times as long as reading."""
_unused: dict[int, list[mmap.mmap]] = {length: [] for length in _KEPT}


@contextmanager
def _memory(length: int) -> Iterator[mmap.mmap]:
    kept = _unused.get(length, [])
    try:
        buffer = kept.pop()
    except IndexError:  # none kept, or all in use
        buffer = memory(length)
    try:
        yield buffer
    finally:
        if len(kept) < _KEPT.get(length, 0):
            kept.append(buffer)


def recognise(head: Content, tail: Content, size: int) -> Signature | None:
    """Recognise the content of a device of `size` bytes from its ends. `head` and `tail` may overlap."""
    for reader in (_luks, _xfs, _ext, _btrfs):
        if found := reader(head):
            return found
    for name, kind, offset, magic in MAGICS:
        if _at(head, tail, offset, len(magic)) == magic:
            return Signature(name=name, kind=kind)
    return _recognise_by_rule(head, tail, size)


def _recognise_by_rule(head: Content, tail: Content, size: int) -> Signature | None:
    """Recognise formats without a fixed offset; and the boot sector, which is part of many other formats."""
    if _is_zfs(head, tail, size):
        return Signature(name="zfs", kind=Kind.MEMBER)
    if _is_old_md(tail, size):
        return Signature(name="md", kind=Kind.MEMBER)
    if _is_xfs_log(head):
        return Signature(name="xfs-log", kind=Kind.OTHER)
    if _at(head, tail, 510, 2) == b"\x55\xaa":
        return Signature(name="dos", kind=Kind.PARTITIONS)
    return None


def _at(head: Content, tail: Content, offset: int, length: int) -> bytes:
    """The bytes at `offset`; a negative offset counts from the end."""
    if offset < 0:
        start = len(tail) + offset
        return tail[start : start + length] if start >= 0 else b""
    return head[offset : offset + length]


def _unpack(layout: str, head: Content, offset: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, head, offset)


def _uuid(head: Content, offset: int) -> str:
    return str(uuid.UUID(bytes=head[offset : offset + 16]))


def _text(head: Content, offset: int, length: int) -> str:
    return head[offset : offset + length].partition(b"\0")[0].decode(errors="replace")


_EXT = 1024
_HAS_JOURNAL, _INCOMPAT_JOURNAL_DEVICE, _INCOMPAT_64BIT = 0x4, 0x8, 0x80
_EXT3_INCOMPAT, _EXT3_RO_COMPAT = 0x1 | 0x2 | 0x4 | 0x10, 0x1 | 0x2 | 0x4
"""The features of ext3; any other feature means ext4."""
_STATE_ERRORS = 0x2
_ERROR_COUNT = 0x194


def _ext(head: Content) -> Signature | None:
    if head[_EXT + 0x38 : _EXT + 0x3A] != b"\x53\xef" or len(head) < _EXT + 1024:
        return None
    blocks, log_block_size = _unpack("<I", head, _EXT + 0x4)[0], _unpack("<I", head, _EXT + 0x18)[0]
    compat, incompat, ro_compat = _unpack("<3I", head, _EXT + 0x5C)
    if incompat & _INCOMPAT_64BIT:
        blocks |= _unpack("<I", head, _EXT + 0x150)[0] << 32
    if incompat & _INCOMPAT_JOURNAL_DEVICE:
        name = "jbd"
    elif incompat & ~_EXT3_INCOMPAT or ro_compat & ~_EXT3_RO_COMPAT:
        name = "ext4"
    else:
        name = "ext3" if compat & _HAS_JOURNAL else "ext2"
    block_size = 1024 << (log_block_size & 15)
    return Signature(
        name=name,
        kind=Kind.FILE_SYSTEM,
        uuid=_uuid(head, _EXT + 0x68),
        label=_text(head, _EXT + 0x78, 16),
        size=Bytes(blocks * block_size),
        block_size=block_size,
        dirty=bool(_unpack("<H", head, _EXT + 0x3A)[0] & _STATE_ERRORS or _unpack("<I", head, _EXT + _ERROR_COUNT)[0]),
    )


_XFS_IN_PROGRESS = 126


def _xfs(head: Content) -> Signature | None:
    if head[:4] != b"XFSB" or len(head) < 128:
        return None
    block_size, blocks = _unpack(">IQ", head, 4)
    return Signature(
        name="xfs",
        kind=Kind.FILE_SYSTEM,
        uuid=_uuid(head, 32),
        label=_text(head, 108, 12),
        size=Bytes(blocks * block_size),
        block_size=block_size,
        unfinished=bool(head[_XFS_IN_PROGRESS]),
    )


_BTRFS = 65536


def _btrfs(head: Content) -> Signature | None:
    if head[_BTRFS + 64 : _BTRFS + 72] != b"_BHRfS_M" or len(head) < _BTRFS + 4096:
        return None
    return Signature(
        name="btrfs",
        kind=Kind.FILE_SYSTEM,
        uuid=_uuid(head, _BTRFS + 32),
        label=_text(head, _BTRFS + 299, 256),
        size=Bytes(_unpack("<Q", head, _BTRFS + 201 + 8)[0]),  # dev_item.total_bytes: this device, not the pool
        block_size=_unpack("<I", head, _BTRFS + 144)[0],
        has_log=bool(_unpack("<Q", head, _BTRFS + 96)[0]),
    )


def _luks(head: Content) -> Signature | None:
    if head[:6] != b"LUKS\xba\xbe" or len(head) < 512:
        return None
    version = _unpack(">H", head, 6)[0]
    label = _text(head, 24, 48) if version == 2 else ""
    return Signature(name=f"luks{version}", kind=Kind.ENCRYPTED, uuid=_text(head, 168, 40), label=label)


_KIB = 1024
_ZFS_LABEL, _ZFS_RING = 256 * _KIB, 128 * _KIB
_UBERBLOCKS = (b"\x0c\xb1\xba\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\xba\xb1\x0c")


def _is_zfs(head: Content, tail: Content, size: int) -> bool:
    """An uberblock in one of the four labels: two at the head, two at the tail aligned down to a label's size."""
    end = len(tail) - size % _ZFS_LABEL
    labels = [(head, 0), (head, _ZFS_LABEL), (tail, end - 2 * _ZFS_LABEL), (tail, end - _ZFS_LABEL)]
    return any(
        start >= 0 and part[at : at + 8] in _UBERBLOCKS
        for part, start in labels
        for at in range(start + _ZFS_RING, start + _ZFS_LABEL, _KIB)
    )


_MD_MAGICS = (b"\xfc\x4e\x2b\xa9", b"\xa9\x2b\x4e\xfc")


def _is_old_md(tail: Content, size: int) -> bool:
    """md formats 0.90 and 1.0, at an aligned offset near the end. Later formats are at the head."""
    places = (size // 65536 * 65536 - 65536, (size // 512 - 16) // 8 * 8 * 512)
    starts = (place - (size - len(tail)) for place in places)
    return any(start >= 0 and tail[start : start + 4] in _MD_MAGICS for start in starts)


_XFS_LOG_SPAN = 256 * _KIB


def _is_xfs_log(head: Content) -> bool:
    """An external XFS log, whose records may start at any of the first sectors."""
    return any(head[at : at + 4] == b"\xfe\xed\xba\xbe" for at in range(0, min(_XFS_LOG_SPAN, len(head)), 512))
