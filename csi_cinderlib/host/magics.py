"""Magic numbers of disk formats and their offsets. They only prove that a device is in use; these formats are not mounted."""

from __future__ import annotations

import enum


class Kind(enum.StrEnum):
    """The kind of content. Any signature means that the device holds data."""

    FILE_SYSTEM = "file system"
    ENCRYPTED = "encrypted volume"
    PARTITIONS = "partition table"
    MEMBER = "member of a volume group, an array or a pool"
    SWAP = "swap space"
    OTHER = "data"


_KIB = 1024
_MIB = 1024 * _KIB
_SECTOR = 512
_PAGE_ENDS = tuple(page * _KIB - 10 for page in (4, 8, 16, 32, 64))
_UDF = tuple(32 * _KIB + 2 * _KIB * sector + 1 for sector in range(16))
_UFS = tuple(place * _KIB + 1372 for place in (0, 8, 64, 256))
_ATARI_PARTITIONS = (0x1C7, 0x1D3, 0x1DF, 0x1EB)
_DASD = tuple(2 * block + key for block in (512, 1024, 2048, 4096) for key in (0, 4))
_PROMISE = tuple(-_SECTOR * sector for sector in (16, 63, 255, 256, 399, 591, 675, 735, 911, 951, 974, 991, 3087))
_LUKS2_SECOND = tuple(size * _KIB for size in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096))


def _both_orders(*words: str) -> tuple[bytes, ...]:
    """Hexadecimal numbers in big-endian and little-endian byte order."""
    return tuple(order for word in words for order in (bytes.fromhex(word), bytes.fromhex(word)[::-1]))


_TABLE: dict[Kind, tuple[tuple[str, tuple[int, ...], tuple[bytes, ...]], ...]] = {
    Kind.PARTITIONS: (
        ("gpt", (512, 4096, -512, -4096), (b"EFI PART",)),
        ("aix", (0,), (b"\xc9\xc2\xd4\xc1",)),
        ("sgi", (0,), (b"\x0b\xe5\xa9\x41",)),
        ("sun", (508,), (b"\xda\xbe",)),
        ("mac", (0,), (b"ER",)),
        ("mac", (512, 2048, 4096), (b"PM\0\0",)),
        ("ultrix", (16 * _KIB - 72,), (b"\x57\x29\x03\x00",)),
        ("bsd", (64, 128, 512), _both_orders("82564557")),
        ("unixware", (29 * _SECTOR + 4,), (b"\x0d\x60\xe5\xca",)),
        ("solaris", (512 + 12,), (b"\xee\xde\x0d\x60",)),
        ("atari", _ATARI_PARTITIONS, (b"GEM", b"BGM", b"LNX", b"SWP", b"RAW", b"XGM")),
        ("dasd", _DASD, (b"\xe5\xd6\xd3\xf1", b"\xd3\xd5\xe7\xf1", b"\xc3\xd4\xe2\xf1")),  # VOL1, LNX1, CMS1
    ),
    Kind.ENCRYPTED: (
        ("luks2", _LUKS2_SECOND, (b"SKUL\xba\xbe",)),
        ("bitlocker", (3,), (b"-FVE-FS-",)),
        ("verity", (0,), (b"verity\0\0",)),
        ("integrity", (0,), (b"integrt\0",)),
        ("corestorage", (88,), (b"CS\x01\0\0\0",)),
    ),
    Kind.MEMBER: (
        ("lvm2", (0, 512, 1024, 1536), (b"LABELONE",)),
        ("lvm1", (0,), (b"HM\x01\x00", b"HM\x02\x00")),
        ("md", (0, 4096), _both_orders("a92b4efc")),
        ("bcache", (4096 + 24,), (bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"),)),
        ("stratis", (512 + 4, 9 * 512 + 4), (b"!Stra0tis\x86\xff\x02^\x41rh",)),
        ("bluestore", (0,), (b"bluestore block device",)),
        ("oracleasm", (32,), (b"ORCLDISK",)),
        ("vdo", (0,), (b"dmvdo001",)),
        ("ubi", (0,), (b"UBI#",)),
        ("vmfs-lvm", (_MIB,), (b"\x0d\xd0\x01\xc0",)),
        ("drbd", (-4096 + 60,), (b"\x83\x74\x02\x6b", b"\x83\x74\x02\x6c", b"\x83\x74\x02\x6d")),
        ("drbdmanage", (0,), (b"$DRBDmgr=q",)),
        ("ddf-raid", (-_SECTOR, -257 * _SECTOR), (b"\xde\x11\xde\x11",)),
        ("isw-raid", (-2 * _SECTOR, -2 * 4096), (b"Intel Raid ISM Cfg Sig. ",)),
        ("lsi-raid", (-_SECTOR,), (b"$XIDE$",)),
        ("via-raid", (-_SECTOR,), (b"\x55\xaa\x00", b"\x55\xaa\x01", b"\x55\xaa\x02")),
        ("silicon-raid", (-_SECTOR + 0x60,), (b"\x00\x00\x00\x2f",)),
        ("nvidia-raid", (-2 * _SECTOR,), (b"NVIDIA  ",)),
        ("promise-raid", _PROMISE, (b"Promise Technology, Inc.",)),
        (
            "highpoint-raid",
            (-11 * _SECTOR, 9 * _SECTOR + 32),
            (b"\xf3\x16\x78\x5a", b"\xfd\x16\x78\x5a", b"\xf0\x16\x78\x5a"),
        ),
        ("adaptec-raid", (-_SECTOR,), (b"\x37\xfc\x4d\x1e",)),
        ("jmicron-raid", (-_SECTOR,), (b"JM",)),
    ),
    Kind.SWAP: (
        ("swap", _PAGE_ENDS, (b"SWAPSPACE2", b"SWAP-SPACE")),
        ("suspend", _PAGE_ENDS, (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")),
        ("suspend", (0,), (b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c",)),
    ),
    Kind.FILE_SYSTEM: (
        ("ntfs", (3,), (b"NTFS    ",)),
        ("exfat", (3,), (b"EXFAT   ",)),
        ("refs", (0,), (b"\0\0\0ReFS\0",)),
        ("vfat", (82,), (b"FAT32   ", b"MSWIN")),
        ("vfat", (54,), (b"FAT16   ", b"FAT12   ", b"FAT     ", b"MSDOS")),
        ("iso9660", (32769,), (b"CD001",)),
        ("iso9660", (32777,), (b"CDROM",)),
        ("udf", _UDF, (b"BEA01", b"BOOT2", b"CDW02", b"NSR02", b"NSR03", b"TEA01")),
        ("bcachefs", (4096 + 24,), (bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef"),)),
        ("squashfs", (0,), (b"hsqs", b"sqsh")),
        ("erofs", (1024,), (b"\xe2\xe1\xf5\xe0",)),
        ("f2fs", (1024,), (b"\x10\x20\xf5\xf2",)),
        ("nilfs2", (1024 + 6,), (b"\x34\x34",)),
        ("jfs", (32 * _KIB,), (b"JFS1",)),
        ("reiserfs", (64 * _KIB + 52, 8 * _KIB + 52, 8 * _KIB + 20), (b"ReIsEr",)),
        ("reiser4", (64 * _KIB,), (b"ReIsEr4",)),
        ("gfs2", (64 * _KIB,), (b"\x01\x16\x19\x70",)),
        ("ocfs2", (1024, 2048, 4096, 8192), (b"OCFSV2",)),
        ("ocfs", (8, 8192), (b"OracleCFS",)),
        ("hfsplus", (1024,), (b"H+", b"HX")),
        ("hfs", (1024,), (b"BD",)),
        ("apfs", (32,), (b"NXSB",)),
        ("cramfs", (0,), _both_orders("28cd3d45")),
        ("romfs", (0,), (b"-rom1fs-",)),
        ("vmfs", (2 * _MIB,), (b"\x5e\xf1\xab\x2f",)),
        ("minix", (1024 + 16,), _both_orders("137f", "138f", "2468", "2478")),
        ("minix", (1024 + 24,), _both_orders("4d5a")),
        ("ufs", _UFS, _both_orders("00011954", "19540119", "00195612", "00095014", "00612195", "05231994")),
        ("hpfs", (8192,), (b"\x49\xe8\x95\xf9",)),
        ("sysv", tuple(1024 * block + 1016 for block in (0, 9, 15, 18)), _both_orders("fd187e20")),
        ("xenix", (2048,), _both_orders("2b5544")),
        ("vxfs", (1024,), (b"\xf5\xfc\x01\xa5",)),
        ("vxfs", (8192,), (b"\xa5\x01\xfc\xf5",)),
        ("exfs", (0,), (b"EXFS",)),
        ("nss", (4096,), (b"SPB5",)),
        ("ubifs", (0,), (b"\x31\x18\x10\x06",)),
        ("bfs", (0,), (b"\xce\xfa\xad\x1b",)),
        ("befs", (32, 512 + 32), (b"BFS1", b"1SFB")),
        ("mpool", (0,), (b"mpoolDev",)),
        ("zonefs", (0,), (b"SFOZ",)),
        ("scoutfs", (64 * _KIB + 4,), (b"\x8b\x42\x3c\x10",)),
    ),
    Kind.OTHER: (
        ("snapshot-cow", (0,), (b"SnAp",)),
        ("drbdproxy", (0,), (b"DRBDdlh*",)),
        ("qcow2", (0,), (b"QFI\xfb",)),
    ),
}
"""For each kind: name, offsets (negative from the end), and the possible values at each offset. `signatures` recognises ext,
xfs, btrfs, LUKS heads, ZFS, md at the tail and external XFS logs."""

MAGICS: tuple[tuple[str, Kind, int, bytes], ...] = tuple(
    (name, kind, offset, magic)
    for kind, rows in _TABLE.items()
    for name, offsets, magics in rows
    for offset in offsets
    for magic in magics
)
