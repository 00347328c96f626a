"""The sector size that the content of a file needs. Pure. Asked once, at an import: later content is that of a user.

A file system made for sectors of 512 bytes, for example by a hypervisor, cannot be mounted from a device with larger ones.
"""

from __future__ import annotations

import re

SMALLEST = 512
HEAD = 16384
"""Bytes at the beginning of the file that are examined."""
_LUKS, _LUKS_VERSION, _LUKS_TEXT = b"LUKS\xba\xbe", slice(6, 8), slice(4096, HEAD)
_LUKS_SECTOR = re.compile(rb'"sector_size"\s*:\s*([0-9]{3,4})\b')
_FAT_NAMES = ((b"FAT", slice(54, 57)), (b"FAT32", slice(82, 87)), (b"NTFS    ", slice(3, 11)))
_FAT_SECTOR = slice(11, 13)
_EXFAT, _EXFAT_AT, _EXFAT_SHIFT = b"EXFAT   ", slice(3, 11), 108
_XFS, _XFS_SECTOR = b"XFSB", slice(102, 104)
_EXT, _EXT_AT, _EXT_BLOCK = b"\x53\xef", slice(1080, 1082), slice(1048, 1052)
_GPT, _GPT_AT = b"EFI PART", slice(512, 520)
_MBR, _MBR_AT = b"\x55\xaa", slice(510, 512)


def needed(head: bytes, usual: int) -> int:
    """The usual size, or a smaller one if the content at the beginning of the file needs it."""
    return min(usual, _largest(head) or usual)


def _largest(head: bytes) -> int:
    """The largest sector with which the content can be used; 0 if any size is possible."""
    if head.startswith(_XFS):
        return _at_least(int.from_bytes(head[_XFS_SECTOR], "big"))
    if head[_EXT_AT] == _EXT:
        return 1024 << min(int.from_bytes(head[_EXT_BLOCK], "little"), 6)
    if head.startswith(_LUKS):  # its sectors are those of the content, which cannot be seen
        found = _LUKS_SECTOR.findall(head[_LUKS_TEXT]) if head[_LUKS_VERSION] == b"\0\2" else []
        return _at_least(min(map(int, found), default=SMALLEST))
    if head[_EXFAT_AT] == _EXFAT:
        return _at_least(1 << min(head[_EXFAT_SHIFT], 12))
    if head[_MBR_AT] == _MBR and any(head[at] == name for name, at in _FAT_NAMES):
        return _at_least(int.from_bytes(head[_FAT_SECTOR], "little"))
    # A partition table for sectors of 4096 bytes begins at byte 4096, and has no signature here.
    is_table = head[_GPT_AT] == _GPT or (head[_MBR_AT] == _MBR and _has_partition(head))
    return SMALLEST if is_table else 0


def _has_partition(head: bytes) -> bool:
    """Whether the master boot record has a partition that is not the protective one of a GPT."""
    kinds = [head[446 + 16 * number + 4 : 446 + 16 * number + 5] for number in range(4)]
    return any(kind not in (b"\0", b"\xee", b"") for kind in kinds)


def _at_least(size: int) -> int:
    return max(size, SMALLEST)
