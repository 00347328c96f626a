"""Superblocks that no mkfs of this machine makes: large, unfinished, with errors, cut off."""

from __future__ import annotations

import struct
import uuid
from dataclasses import replace

import pytest

from csi_cinderlib.host.magics import Kind
from csi_cinderlib.host.signatures import SPAN, Signature, recognise
from csi_cinderlib.model.size import Bytes

ID = uuid.UUID("11111111-2222-3333-4444-555555555555")
ZEROS = bytes(SPAN)


def seen(head: bytes, *, cut: int = SPAN) -> Signature | None:
    return recognise(head.ljust(SPAN, b"\0")[:cut], ZEROS, 1 << 40)


def ext(*, compat: int = 0, incompat: int = 0, ro_compat: int = 0, state: int = 1, log_block_size: int = 2) -> bytes:
    block = bytearray(4096)
    for offset, value in (
        (0x4, 7),
        (0x18, log_block_size),
        (0x5C, compat),
        (0x60, incompat),
        (0x64, ro_compat),
        (0x150, 3),
    ):
        struct.pack_into("<I", block, 1024 + offset, value)
    struct.pack_into("<HH", block, 1024 + 0x38, 0xEF53, state)
    block[1024 + 0x68 : 1024 + 0x78] = ID.bytes
    block[1024 + 0x78 : 1024 + 0x88] = b"sixteen-letters!"
    block[1024 + 0x88] = ord("?")
    return bytes(block)


EXT2 = Signature(
    name="ext2",
    kind=Kind.FILE_SYSTEM,
    uuid=str(ID),
    label="sixteen-letters!",
    size=Bytes(7 * 4096),
    block_size=4096,
)
JOURNAL, RECOVER, JOURNAL_DEVICE, EXTENTS, MANY_BLOCKS = 0x4, 0x4, 0x8, 0x40, 0x80


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (ext(), EXT2),
        (ext(incompat=0x2, ro_compat=0x3), EXT2),
        (ext(compat=JOURNAL, incompat=0x2 | RECOVER | 0x10, ro_compat=0x7), replace(EXT2, name="ext3")),
        (ext(compat=JOURNAL, incompat=EXTENTS), replace(EXT2, name="ext4")),
        (ext(ro_compat=0x8), replace(EXT2, name="ext4")),
        (ext(incompat=JOURNAL_DEVICE), replace(EXT2, name="jbd")),
        (ext(incompat=MANY_BLOCKS), replace(EXT2, name="ext4", size=Bytes((3 << 32 | 7) * 4096))),
        (ext(state=0x1 | 0x2), replace(EXT2, dirty=True)),
        (ext(state=0), EXT2),
        (ext(log_block_size=0), replace(EXT2, size=Bytes(7 * 1024), block_size=1024)),
        (ext(log_block_size=6), replace(EXT2, size=Bytes(7 * 65536), block_size=65536)),
    ],
)
def test_ext_is_told_by_its_features(head: bytes, expected: Signature) -> None:
    assert seen(head) == expected


def test_nonsense_in_ext_is_no_crash() -> None:
    found = seen(ext(log_block_size=0xFFFFFFFF))
    assert found
    assert found.block_size == 1024 << 15


def xfs(*, in_progress: int = 0) -> bytes:
    block = bytearray(512)
    struct.pack_into(">4sIQ", block, 0, b"XFSB", 4096, 1 << 33)
    block[32:48] = ID.bytes
    block[108:120] = b"twelve-chars"
    block[120:126] = b"??????"
    block[126] = in_progress
    block[127] = 0xFF
    return bytes(block)


@pytest.mark.parametrize("unfinished", [False, True])
def test_xfs_says_whether_its_mkfs_came_to_an_end(unfinished: bool) -> None:
    assert seen(xfs(in_progress=int(unfinished))) == Signature(
        name="xfs",
        kind=Kind.FILE_SYSTEM,
        uuid=str(ID),
        label="twelve-chars",
        size=Bytes((1 << 33) * 4096),
        block_size=4096,
        unfinished=unfinished,
    )


def btrfs(label: bytes) -> bytes:
    block = bytearray(65536 + 4096)
    block[65536 + 64 : 65536 + 72] = b"_BHRfS_M"
    block[65536 + 32 : 65536 + 48] = ID.bytes
    struct.pack_into("<I", block, 65536 + 144, 4096)
    struct.pack_into("<QQQ", block, 65536 + 201, 5, 1 << 41, 6)
    block[65536 + 299 : 65536 + 299 + len(label)] = label
    return bytes(block)


@pytest.mark.parametrize("label", [b"short", b"x" * 256])
def test_btrfs_tells_the_size_of_this_device(label: bytes) -> None:
    assert seen(btrfs(label + (b"?" if len(label) == 256 else b""))) == Signature(
        name="btrfs",
        kind=Kind.FILE_SYSTEM,
        uuid=str(ID),
        label=label.decode(),
        size=Bytes(1 << 41),
        block_size=4096,
    )


def luks(version: int) -> bytes:
    block = bytearray(512)
    struct.pack_into(">6sH", block, 0, b"LUKS\xba\xbe", version)
    block[24:72] = b"x" * 48
    block[72] = ord("?")
    block[168:204] = str(ID).encode()
    block[205:208] = b"???"
    return bytes(block)


@pytest.mark.parametrize(("version", "label"), [(1, ""), (2, "x" * 48)])
def test_luks_has_a_label_since_its_second_version(version: int, label: str) -> None:
    expected = Signature(name=f"luks{version}", kind=Kind.ENCRYPTED, uuid=str(ID), label=label)
    assert seen(luks(version)) == expected


@pytest.mark.parametrize(
    ("head", "length", "name"),
    [(ext(), 2048, "ext2"), (xfs(), 128, "xfs"), (btrfs(b""), 65536 + 4096, "btrfs"), (luks(1), 512, "luks1")],
)
def test_a_superblock_counts_once_it_is_there_as_a_whole(head: bytes, length: int, name: str) -> None:
    found = seen(head, cut=length)
    assert found
    assert found.name == name
    assert seen(head, cut=length - 1) is None


def test_a_uuid_of_luks_ends_with_its_field() -> None:
    head = bytearray(luks(1))
    head[168:209] = b"u" * 40 + b"?"
    found = seen(bytes(head))
    assert found
    assert found.uuid == "u" * 40


def test_a_label_in_no_encoding_is_shown_somehow() -> None:
    found = seen(btrfs(b"caf\xe9"))
    assert found
    assert found.label == "caf\N{REPLACEMENT CHARACTER}"


MEMBER = b"\xfc\x4e\x2b\xa9"


@pytest.mark.parametrize("magic", [MEMBER, MEMBER[::-1]])
@pytest.mark.parametrize("size", [1 << 30, (1 << 30) + 512, (1 << 30) + 65536 - 512, (1 << 30) + 4096 + 7 * 512])
@pytest.mark.parametrize("place", ["0.90", "1.0"])
def test_old_formats_of_md_are_found_at_the_aligned_end(magic: bytes, size: int, place: str) -> None:
    start = size // 65536 * 65536 - 65536 if place == "0.90" else (size // 512 - 16) // 8 * 8 * 512
    tail = bytearray(SPAN)
    tail[start - size : start - size + 4 or None] = magic
    assert recognise(ZEROS, bytes(tail), size) == Signature(name="md", kind=Kind.MEMBER)
    for beside in (start - 512, start + 512):
        tail = bytearray(SPAN)
        tail[beside - size : beside - size + 4] = magic
        assert recognise(ZEROS, bytes(tail), size) is None


def test_the_first_sector_alone_is_no_partition_table_without_its_mark() -> None:
    assert seen(bytes(510) + b"\x55\xab") is None
    assert seen(bytes(509) + b"\x55\xaa") is None


INTEL = b"Intel Raid ISM Cfg Sig. "


def test_the_end_of_a_small_device_is_not_looked_for_before_its_beginning() -> None:
    sector = INTEL.ljust(512, b"\0")
    assert recognise(sector, sector, 512) is None
    both = sector + bytes(512)
    found = recognise(both, both, 1024)
    assert found
    assert found.name == "isw-raid"


def test_md_is_found_at_the_very_beginning_of_a_small_device() -> None:
    device = MEMBER[::-1].ljust(65536, b"\0")
    assert recognise(device, device, 65536) == Signature(name="md", kind=Kind.MEMBER)


UBERBLOCK = (0x00BAB10C).to_bytes(8, "little")
LABEL = 256 * 1024


@pytest.mark.parametrize("place", [LABEL // 2 - 1024, LABEL // 2 + 512, LABEL, LABEL + LABEL // 4, 2 * LABEL])
def test_zfs_is_looked_for_where_its_uberblocks_are_and_nowhere_else(place: int) -> None:
    assert seen(bytes(place) + UBERBLOCK) is None
