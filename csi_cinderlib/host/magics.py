"""The magic numbers of what may be on a disk, with their places. Only the presence counts: none of these is mounted."""

from __future__ import annotations

import enum
from collections.abc import Iterator


class Kind(enum.StrEnum):
    """What a signature stands for. Whatever it is, the device holds something of somebody's."""

    FILE_SYSTEM = "file system"
    ENCRYPTED = "encrypted volume"
    PARTITIONS = "partition table"
    MEMBER = "member of a volume group, an array or a pool"
    SWAP = "swap space"
    OTHER = "data"


_KIB = 1024
_MD = 0xA92B4EFC
_BCACHE = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_BCACHEFS = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")

_FIXED: tuple[tuple[str, int, bytes], ...] = (
    ("gpt", 512, b"EFI PART"),
    ("gpt", 4096, b"EFI PART"),
    ("gpt", -512, b"EFI PART"),
    ("gpt", -4096, b"EFI PART"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("bitlocker", 3, b"-FVE-FS-"),
    ("vfat", 82, b"FAT32   "),
    ("vfat", 54, b"FAT16   "),
    ("vfat", 54, b"FAT12   "),
    ("iso9660", 32769, b"CD001"),
    ("iso9660", 32777, b"CDROM"),
    ("udf", 32769, b"BEA01"),
    ("bcache", 4096 + 24, _BCACHE),
    ("bcachefs", 4096 + 24, _BCACHEFS),
    ("squashfs", 0, b"hsqs"),
    ("squashfs", 0, b"sqsh"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("nilfs2", 1024 + 6, b"\x34\x34"),
    ("jfs", 32768, b"JFS1"),
    ("reiserfs", 65536 + 52, b"ReIsEr"),
    ("reiserfs", 8192 + 52, b"ReIsEr"),
    ("reiser4", 65536, b"ReIsEr4"),
    ("gfs2", 65536, b"\x01\x16\x19\x70"),
    ("hfsplus", 1024, b"H+"),
    ("hfsplus", 1024, b"HX"),
    ("hfs", 1024, b"BD"),
    ("apfs", 32, b"NXSB"),
    ("cramfs", 0, b"\x45\x3d\xcd\x28"),
    ("romfs", 0, b"-rom1fs-"),
    ("lvm1", 0, b"HM\x01\x00"),
    ("stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("bluestore", 0, b"bluestore block device"),
    ("oracleasm", 32, b"ORCLDISK"),
    ("vdo", 0, b"dmvdo001"),
    ("verity", 0, b"verity\0\0"),
    ("integrity", 0, b"integrt\0"),
    ("snapshot-cow", 0, b"SnAp"),
    ("qcow2", 0, b"QFI\xfb"),
    ("ddf-raid", -512, b"\xde\x11\xde\x11"),
    ("isw-raid", -1024, b"Intel Raid ISM Cfg Sig. "),
    ("drbd", -4096 + 60, b"\x83\x74\x02\x6b"),
    ("drbd", -4096 + 60, b"\x83\x74\x02\x6c"),
    ("drbd", -4096 + 60, b"\x83\x74\x02\x6d"),
    ("vmfs-lvm", 1024 * _KIB, b"\x0d\xd0\x01\xc0"),
    ("vmfs", 2048 * _KIB, b"\x5e\xf1\xab\x2f"),
    ("md", 0, _MD.to_bytes(4, "little")),
    ("md", 4096, _MD.to_bytes(4, "little")),
)


def _repeated() -> Iterator[tuple[str, int, bytes]]:
    """Signatures whose place depends on a page size, a sector or a version."""
    for sector in range(4):
        yield "lvm2", sector * 512, b"LABELONE"
    for block in (1024, 2048, 4096, 8192):
        yield "ocfs2", block * 2 if block > 1024 else block, b"OCFSV2"
    for page in (4, 8, 16, 32, 64):
        for word in (b"SWAPSPACE2", b"SWAP-SPACE"):
            yield "swap", page * _KIB - 10, word
        for word in (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"):
            yield "suspend", page * _KIB - 10, word
    for second in (16, 32, 64, 128, 256, 512, 1024, 2048):
        yield "luks2", second * _KIB, b"SKUL\xba\xbe"
    for block in range(16, 32):
        for word in (b"NSR02", b"NSR03"):
            yield "udf", block * 2 * _KIB + 1, word


MAGICS = (*_FIXED, *_repeated())
"""Name, offset (negative: from the end), bytes. ext, xfs, btrfs, LUKS heads, ZFS and md at the tail are read elsewhere."""

KINDS = {
    **dict.fromkeys(("gpt", "dos"), Kind.PARTITIONS),
    **dict.fromkeys(("luks1", "luks2", "bitlocker"), Kind.ENCRYPTED),
    **dict.fromkeys(("swap", "suspend"), Kind.SWAP),
    **dict.fromkeys(
        (
            "lvm1",
            "lvm2",
            "md",
            "zfs",
            "bcache",
            "ddf-raid",
            "isw-raid",
            "drbd",
            "stratis",
            "bluestore",
            "vdo",
            "vmfs-lvm",
        ),
        Kind.MEMBER,
    ),
    **dict.fromkeys(
        "ntfs exfat vfat iso9660 udf bcachefs squashfs erofs f2fs nilfs2 jfs reiserfs reiser4 gfs2 ocfs2 hfsplus hfs "
        "apfs cramfs romfs vmfs".split(),
        Kind.FILE_SYSTEM,
    ),
}
