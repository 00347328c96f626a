"""Formats that no tool of Debian makes, written by hand so far that libblkid takes them for real."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from csi_cinderlib.host import kernel

KIB, MIB = 1024, 1024**2
SECTOR = 512

Pieces = Mapping[int, bytes]
"""What is written where; a negative offset counts from the end."""


@dataclass(frozen=True, slots=True)
class HandMade:
    """A format of which the bytes are known.

    Attributes:
        known_as: what libblkid calls it.
        name: what our table calls it.
        pieces: what is written on a device of so many bytes.
        variant: tells it from others of the same name.
        block_size: of the device, in bytes.
    """

    known_as: str
    name: str
    pieces: Callable[[int], Pieces]
    variant: str = ""
    block_size: int = 512

    def write(self, device: str, size: int) -> None:
        with kernel.opened(device, os.O_RDWR) as fd:
            for offset, data in self.pieces(size).items():
                os.pwrite(fd, data, offset if offset >= 0 else size + offset)
            os.fsync(fd)


def le(value: int, length: int = 4) -> bytes:
    return (value % (1 << 8 * length)).to_bytes(length, "little")


def be(value: int, length: int = 4) -> bytes:
    return value.to_bytes(length, "big")


def block(length: int, fields: Mapping[int, bytes]) -> bytes:
    """So many bytes, zeros but for these fields."""
    content = bytearray(length)
    for offset, data in fields.items():
        content[offset : offset + len(data)] = data
    return bytes(content)


def words(data: bytes, length: int) -> int:
    """The sum of the little-endian numbers that `data` consists of."""
    return sum(int.from_bytes(data[at : at + length], "little") for at in range(0, len(data), length))


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def crc64(data: bytes) -> int:
    """bcache's checksum."""
    crc = ~0 & (1 << 64) - 1
    for byte in data:
        crc ^= byte << 56
        for _ in range(8):
            crc = (crc << 1 ^ (0x42F0E1EBA9EA3693 if crc >> 63 else 0)) & (1 << 64) - 1
    return ~crc & (1 << 64) - 1


def fixed(pieces: Pieces) -> Callable[[int], Pieces]:
    return lambda _size: pieces


# --- members of arrays and pools


MD = 0xA92B4EFC


def md_0_90(size: int) -> Pieces:
    return {size // (64 * KIB) * 64 * KIB - 64 * KIB: block(4096, {0: le(MD) + le(0) + le(90) + le(3), 32: le(1024)})}


def md_1(place: Callable[[int], int]) -> Callable[[int], Pieces]:
    def pieces(size: int) -> Pieces:
        start = place(size)
        fields = {0: le(MD) + le(1), 16: b"sixteen-bytes-id", 144: le(start // SECTOR, 8)}
        total = words(block(256, fields), 4)
        return {start: block(256, {**fields, 216: le((total >> 32) + total)})}

    return pieces


def ddf() -> Pieces:
    header = block(512, {0: be(0xDE11DE11), 4: b"\xff" * 4, 8: b"a-guid-of-24-characters.", 32: b"01.02.00"})
    header = header[:4] + be(zlib.crc32(header)) + header[8:]
    return {-SECTOR: header, -257 * SECTOR: header}


def silicon() -> Pieces:
    sector = block(512, {0x60: le(0x2F000000)})
    return {-SECTOR: sector[:0x13E] + le(-words(sector[:0x13E], 2), 2) + sector[0x140:]}


def nvidia() -> Pieces:
    sector = block(120, {0: b"NVIDIA  ", 8: le(30), 16: le(100, 2)})
    return {-2 * SECTOR: sector[:12] + le(-words(sector, 4)) + sector[16:]}


def via() -> Pieces:
    sector = block(50, {0: b"\x55\xaa\x01", 3: b"\x03\x00\x01"})
    return {-SECTOR: sector + le(sum(sector), 1)}


def jmicron() -> Pieces:
    sector = block(126, {0: b"JM", 2: le(0x0100, 2), 16: b"id"})
    return {-SECTOR: sector[:4] + le(-words(sector, 2), 2) + sector[6:]}


def bcache() -> Pieces:
    """Where the tools are installed, udev hands what they make to the kernel, which keeps the device busy."""
    magic = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
    content = block(200, {0: le(8, 8) + le(1, 8) + magic, 32: b"sixteen-bytes-id", 184: le(16, 8)})
    return {4096: le(crc64(content), 8) + content}


def ubi() -> Pieces:
    header = block(60, {0: b"UBI#\x01", 16: be(2048) + be(4096)})
    return {0: header + be(~zlib.crc32(header) & 0xFFFFFFFF)}


def stratis() -> Pieces:
    content = block(508, {0: b"!Stra0tis\x86\xff\x02^\x41rh", 16: le(131072, 8), 24: b"a" * 64, 88: le(2048, 8)})
    sector = le(crc32c(content)) + content
    return {SECTOR: sector, 9 * SECTOR: sector}


UBERBLOCK = le(0x00BAB10C, 8) + le(5000, 8)


def zfs(size: int) -> Pieces:
    """Of a pool that was just made: four labels with the pool's configuration and the first of their 128 uberblocks."""
    end = size // (256 * KIB) * 256 * KIB
    labels = (0, 256 * KIB, end - 512 * KIB, end - 256 * KIB)
    configuration = {label + 16 * KIB: b"\x01\x01\0\0" + b"tank" * 100 for label in labels}
    return configuration | {label + 128 * KIB + 4 * KIB: UBERBLOCK for label in labels}


MEMBERS = (
    HandMade("linux_raid_member", "md", md_0_90, "0.90"),
    HandMade("linux_raid_member", "md", md_1(lambda size: size // 4096 * 4096 - 8192), "1.0"),
    HandMade("linux_raid_member", "md", md_1(lambda _size: 0), "1.1"),
    HandMade("linux_raid_member", "md", md_1(lambda _size: 4096), "1.2"),
    HandMade("ddf_raid_member", "ddf-raid", fixed(ddf())),
    HandMade("isw_raid_member", "isw-raid", fixed({-2 * SECTOR: b"Intel Raid ISM Cfg Sig. 1.3.00\0\0"})),
    HandMade("lsi_mega_raid_member", "lsi-raid", fixed({-SECTOR: b"$XIDE$"})),
    HandMade("via_raid_member", "via-raid", fixed(via())),
    HandMade("silicon_medley_raid_member", "silicon-raid", fixed(silicon())),
    HandMade("nvidia_raid_member", "nvidia-raid", fixed(nvidia())),
    *(
        HandMade(
            "promise_fasttrack_raid_member",
            "promise-raid",
            fixed({-sector * SECTOR: b"Promise Technology, Inc."}),
            str(sector),
        )
        for sector in (16, 63, 255, 3087)
    ),
    HandMade("hpt45x_raid_member", "highpoint-raid", fixed({-11 * SECTOR: le(0x5A7816F3)})),
    HandMade("hpt37x_raid_member", "highpoint-raid", fixed({9 * SECTOR + 32: le(0x5A7816F0)})),
    HandMade("adaptec_raid_member", "adaptec-raid", fixed({-SECTOR: block(512, {0: be(0x37FC4D1E), 256: b"DPTM"})})),
    HandMade("jmicron_raid_member", "jmicron-raid", fixed(jmicron())),
    HandMade("drbd", "drbd", fixed({-4096: block(4096, {60: b"\x83\x74\x02\x6b", 80: be(4096)})}), "8"),
    HandMade("drbd", "drbd", fixed({-4096: block(4096, {60: b"\x83\x74\x02\x6d", 80: be(4096)})}), "9"),
    HandMade("drbdmanage_control_volume", "drbdmanage", fixed({0: b"$DRBDmgr=q" + b"=" + b"0f" * 16 + b"\n"})),
    HandMade("LVM1_member", "lvm1", fixed({0: b"HM" + le(1, 2)})),
    HandMade("VMFS_volume_member", "vmfs-lvm", fixed({MIB: b"\x0d\xd0\x01\xc0"})),
    HandMade("stratis", "stratis", fixed(stratis())),
    HandMade("bcache", "bcache", fixed(bcache())),
    HandMade("ubi", "ubi", fixed(ubi())),
    HandMade("oracleasm", "oracleasm", fixed({32: b"ORCLDISK"})),
    HandMade("vdo", "vdo", fixed({0: b"dmvdo001"})),
    HandMade("ceph_bluestore", "bluestore", fixed({0: b"bluestore block device\n"})),
    HandMade("zfs_member", "zfs", zfs),
)


# --- file systems


def apfs() -> Pieces:
    content = block(4088, {16: le(1, 2), 24: b"NXSB", 28: le(4096), 32: le(16384, 8)})
    low = high = 0
    for at in range(0, len(content), 4):
        low += int.from_bytes(content[at : at + 4], "little")
        high += low
    first = ~((low + high) % 0xFFFFFFFF) & 0xFFFFFFFF
    second = ~((low + first) % 0xFFFFFFFF) & 0xFFFFFFFF
    return {0: le(first) + le(second) + content}


def zonefs() -> Pieces:
    block_0 = block(4096, {0: b"SFOZ", 8: b"label"})
    return {0: block_0[:4] + le(~zlib.crc32(block_0[:76])) + block_0[8:]}


def mpool() -> Pieces:
    descriptor = block(62, {0: b"mpoolDev", 8: b"name"})
    return {0: descriptor + le(crc32c(descriptor))}


def befs() -> Pieces:
    fields = {32: b"1SFB", 36: b"EGIB", 40: le(1024), 44: le(10), 68: le(0xDD121031), 112: le(0x15B6830E)}
    return {SECTOR: block(512, {**fields, 120: le(16, 2) + le(1, 2)}), 16 * KIB: le(0x3BBE0AD9)}


def scoutfs(flags: int) -> Pieces:
    content = block(4092, {0: b"\x8b\x42\x3c\x10", 40: le(1, 8), 44: le(flags, 8)})
    return {64 * KIB: le(~crc32c(content)) + content}


def core_storage() -> Pieces:
    header = block(504, {0: le(1, 2) + le(0x10, 2), 80: b"CS" + le(1), 160: le(16) + le(2)})
    return {0: le(~crc32c(header)) + le(0xFFFFFFFF) + header}


HFSPLUS = block(512, {0: b"H+", 2: be(4, 2), 40: be(4096)})

FILE_SYSTEMS = (
    HandMade("apfs", "apfs", fixed(apfs())),
    HandMade("bcachefs", "bcachefs", fixed({4096 + 24: bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")})),
    HandMade("befs", "befs", fixed(befs())),
    HandMade("gfs", "gfs2", fixed({64 * KIB: block(512, {0: be(0x01161970) + be(1), 24: be(1309) + be(1401)})})),
    HandMade("hfsplus", "hfsplus", fixed({1024: HFSPLUS, -1024: HFSPLUS})),
    HandMade("hpfs", "hpfs", fixed({8192: b"\x49\xe8\x95\xf9", 8704: b"\x49\x18\x91\xf9"})),
    HandMade("mpool", "mpool", fixed(mpool())),
    HandMade("nss", "nss", fixed({4096: b"SPB5"})),
    HandMade("ocfs", "ocfs", fixed({8192: b"OracleCFS"})),
    HandMade("ReFS", "refs", fixed({0: b"\0\0\0ReFS\0"})),
    HandMade("scoutfs_meta", "scoutfs", fixed(scoutfs(1))),
    HandMade("scoutfs_data", "scoutfs", fixed(scoutfs(0))),
    HandMade("squashfs3", "squashfs", fixed({0: block(96, {0: b"hsqs", 28: le(3, 2)})})),
    HandMade("sysv", "sysv", fixed({1016: le(0xFD187E20)})),
    HandMade("VMFS", "vmfs", fixed({2 * MIB: b"\x5e\xf1\xab\x2f"})),
    HandMade("vxfs", "vxfs", fixed({1024: le(0xA501FCF5)}), "little-endian"),
    HandMade("vxfs", "vxfs", fixed({8192: be(0xA501FCF5)}), "big-endian"),
    HandMade("xenix", "xenix", fixed({2048: be(0x2B5544, 3)})),
    HandMade("zonefs", "zonefs", fixed(zonefs())),
)


# --- the rest

XFS_LOG = block(512, {0: be(0xFEEDBABE), 8: be(2), 12: be(512), 300: be(1)})
OTHERS = (
    HandMade("BitLocker", "bitlocker", fixed({0: b"\xeb\x52\x90-FVE-FS-"})),
    HandMade("cs_fvault2", "corestorage", fixed(core_storage())),
    HandMade("DM_integrity", "integrity", fixed({0: b"integrt\0" + b"\x04\x02" + le(4, 2)})),
    HandMade("DM_snapshot_cow", "snapshot-cow", fixed({0: b"SnAp"})),
    HandMade("drbdproxy_datalog", "drbdproxy", fixed({0: b"DRBDdlh*"})),
    HandMade("swsuspend", "suspend", fixed({4096 - 10: b"S1SUSPEND"})),
    HandMade("xfs_external_log", "xfs-log", fixed({0: XFS_LOG})),
    HandMade("xfs_external_log", "xfs-log", fixed({77 * SECTOR: XFS_LOG}), "wrapped"),
)


BOOT_SECTOR = b"\x55\xaa"
PROTECTIVE = {446: b"\0\0\2\0\xee" + b"\xff" * 11, 510: BOOT_SECTOR}


def gpt(size: int) -> Pieces:
    """With blocks of 4 KiB. Tools make these only on a device, where the kernel would keep the partitions."""
    last, entries = size // 4096 - 1, 4 * 4096

    def header(own: int, other: int, first_entry: int) -> bytes:
        fields = {0: b"EFI PART", 8: le(0x10000) + le(92), 24: le(own, 8) + le(other, 8) + le(6, 8) + le(last - 5, 8)}
        fields |= {56: b"sixteen-bytes-id", 72: le(first_entry, 8) + le(128) + le(128) + le(zlib.crc32(bytes(entries)))}
        content = block(92, fields)
        return content[:16] + le(zlib.crc32(content)) + content[20:]

    return {**PROTECTIVE, 4096: header(1, last, 2), last * 4096: header(last, 1, last - 4)}


PARTITION_TABLES = (
    HandMade("gpt", "gpt", gpt, "4k", block_size=4096),
    HandMade("aix", "aix", fixed({0: b"\xc9\xc2\xd4\xc1"})),
    HandMade("atari", "atari", fixed({0x1C2: be(65536), 0x1C6: b"\x01GEM" + be(2) + be(1000)})),
    HandMade("PMBR", "dos", fixed(PROTECTIVE)),
    HandMade("solaris", "solaris", fixed({SECTOR + 12: le(0x600DDEEE) + le(1)})),
    HandMade("ultrix", "ultrix", fixed({16 * KIB - 72: le(0x032957) + le(1)})),
    HandMade("bsd", "bsd", fixed({SECTOR: le(0x82564557)})),
    HandMade("minix", "dos", fixed({446: b"\x80\0\2\0\x81\0\0\0" + le(63) + le(1000), 510: BOOT_SECTOR}), "table"),
    HandMade("unixware", "unixware", fixed({29 * SECTOR: le(2) + b"\x0d\x60\xe5\xca"})),
)

SUPERBLOCKS = (*MEMBERS, *FILE_SYSTEMS, *OTHERS)
