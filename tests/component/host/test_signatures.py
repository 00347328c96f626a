from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import blankness, commands, devices, kernel, reading, signatures
from csi_cinderlib.host.magics import MAGICS, Kind

MIB = 1024 * 1024
SIZE = 64 * MIB + 3 * 512
Loop = Callable[..., str]


def ends(offset: int, data: bytes, size: int = SIZE) -> tuple[bytes, bytes, int]:
    """Head, tail and size of a device that holds `data` at `offset` (negative: from the end) and zeros elsewhere."""
    start = offset if offset >= 0 else size + offset
    head, tail = bytearray(signatures.SPAN), bytearray(signatures.SPAN)
    if start + len(data) <= signatures.SPAN:
        head[start : start + len(data)] = data
    else:
        at = start - (size - signatures.SPAN)
        tail[at : at + len(data)] = data
    return bytes(head), bytes(tail), size


def test_every_known_magic_number_is_found_at_its_place() -> None:
    for name, kind, offset, magic in MAGICS:
        found = signatures.recognise(*ends(offset, magic))
        assert found, (name, offset, magic)
        assert (found.name, found.kind) == (name, kind)


def test_zeros_carry_nothing() -> None:
    assert signatures.recognise(*ends(0, b"")) is None


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("label", [0, 256 * 1024, -512 * 1024, -256 * 1024])
@pytest.mark.parametrize("ring", [0, 77])
def test_zfs_is_found_by_any_of_its_labels(order: str, label: int, ring: int) -> None:
    magic = (0x00BAB10C).to_bytes(8, "little" if order == "little" else "big")
    start = label if label >= 0 else SIZE // (256 * 1024) * (256 * 1024) + label
    found = signatures.recognise(*ends(start + 128 * 1024 + ring * 1024, magic))
    assert found
    assert (found.name, found.kind) == ("zfs", Kind.MEMBER)


@pytest.mark.parametrize("place", [SIZE // 65536 * 65536 - 65536, (SIZE // 512 - 16) // 8 * 8 * 512, 4096, 0])
def test_md_is_found_in_all_its_formats(place: int) -> None:
    found = signatures.recognise(*ends(place, (0xA92B4EFC).to_bytes(4, "little")))
    assert found
    assert found.name == "md"


def test_a_boot_sector_alone_counts_as_a_partition_table() -> None:
    found = signatures.recognise(*ends(510, b"\x55\xaa"))
    assert found
    assert (found.name, found.kind) == ("dos", Kind.PARTITIONS)


@pytest.mark.parametrize("size", [512, 4096, 65536, MIB + 512])
def test_small_devices_are_read_without_error(size: int) -> None:
    assert signatures.recognise(bytes(size), bytes(size), size) is None


def test_luks_tells_version_uuid_and_label() -> None:
    head = bytearray(4096)
    head[:8] = b"LUKS\xba\xbe\x00\x02"
    head[24:29] = b"label"
    head[168:204] = b"11111111-2222-3333-4444-555555555555"
    found = signatures.recognise(*ends(0, bytes(head)))
    assert found
    assert (found.name, found.label, found.kind) == ("luks2", "label", Kind.ENCRYPTED)
    assert found.uuid.startswith("11111111-")


def test_a_superblock_that_is_cut_off_is_no_crash() -> None:
    for length in range(0, 70000, 997):
        head = (b"\xff" * 1080 + b"\x53\xef" + b"\xff" * 70000)[:length]
        signatures.recognise(head, head, length)
    assert signatures.recognise(b"XFSB", b"XFSB", 4) is None


@pytest.mark.root
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_the_members_of_the_ext_family_are_told_apart(kind: str, loop: Loop) -> None:
    device = loop(64)
    commands.run(["mkfs.ext4", "-q", "-t", kind, "-L", f"a-{kind}", device], timeout=60)
    found = signatures.probe(device)
    assert found
    assert (found.name, found.label, found.size) == (kind, f"a-{kind}", 64 * MIB)


@pytest.mark.root
def test_swap_is_recognised_as_mkswap_makes_it(loop: Loop) -> None:
    device = loop(64)
    commands.run(["mkswap", device], timeout=60)
    found = signatures.probe(device)
    assert found
    assert (found.name, found.kind) == ("swap", Kind.SWAP)


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_uuid_and_label_are_the_same_as_blkids(fs_type: str, loop: Loop) -> None:
    device = loop(320)
    commands.run([f"mkfs.{fs_type}", "-q", "-L", "some label"[:12], device], timeout=60)
    found = signatures.probe(device)
    assert found
    said = commands.run(["blkid", "-p", "-o", "export", device], timeout=60).stdout
    assert f"UUID={found.uuid}" in said
    assert found.label == "some label"
    assert f"TYPE={found.name}" in said


@pytest.mark.root
def test_devices_that_are_read_at_the_same_time_are_not_mixed_up(loop: Loop, tmp_path: Path) -> None:
    devices_by_content = {content: loop(64, name=f"{content}.img") for content in ("ext4", "btrfs", "nothing")}
    superblock = bytearray(4096)
    superblock[64:72] = b"_BHRfS_M"
    with (tmp_path / "btrfs.img").open("r+b") as file:
        file.write(bytes(65536) + superblock)
    commands.run(["mkfs.ext4", "-q", devices_by_content["ext4"]], timeout=60)

    def looks(content: str) -> list[str]:
        found = (signatures.probe(devices_by_content[content]) for _ in range(50))
        return [item.name if item else "nothing" for item in found]

    with ThreadPoolExecutor() as pool:
        for content, seen in zip([*devices_by_content] * 2, pool.map(looks, [*devices_by_content] * 2), strict=True):
            assert set(seen) == {content}


@pytest.mark.root
def test_what_was_written_past_the_page_cache_is_seen(loop: Loop, tmp_path: Path) -> None:
    """Another node may have written to the volume since this one has read it."""
    device = loop(64)
    with Path(device).open("rb") as reader:
        assert not any(reader.read(MIB))
        assert blankness.is_blank(device)
        with (tmp_path / "disk.img").open("r+b") as file:
            file.write(b"XFSB")
        found = signatures.probe(device)
        assert found
        assert found.name == "xfs"
        assert not blankness.is_blank(device)


def test_a_short_read_is_an_error_and_not_zeros(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(1000))
    with kernel.opened(str(tmp_path / "short"), os.O_RDONLY) as fd:
        with pytest.raises(HostError, match="cannot read x: got 1000 of 4096 bytes at offset 0"):
            reading.read(fd, "x", 0, 4096)
        assert reading.read(fd, "x", 0, 1000) == bytes(1000)


def refuse_direct(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let opening with O_DIRECT fail, and without it succeed."""
    real = os.open

    def fail(path: str, flags: int, *arguments: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *arguments)

    monkeypatch.setattr(os, "open", fail)


@pytest.mark.root
def test_a_device_that_knows_no_direct_reads_is_read_through_the_cache(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = loop(8)
    Path(device).write_bytes(b"XFSB")
    refuse_direct(monkeypatch, errno.EINVAL)
    found = signatures.probe(device)
    assert found
    assert found.name == "xfs"


@pytest.mark.root
def test_a_device_that_fails_is_not_read_through_the_cache(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    device = loop(8)
    refuse_direct(monkeypatch, errno.EIO)
    with pytest.raises(HostError, match="Input/output error"):
        signatures.probe(device)


@pytest.mark.root
def test_a_device_of_size_0_is_not_there(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    os.truncate(tmp_path / "disk.img", 0)
    devices.refresh_size(device)
    with pytest.raises(HostError, match="its size is 0; the device is not ready or was removed"):
        signatures.probe(device)


@pytest.mark.root
def test_ends_are_zero_only_when_both_were_read_whole_and_do_not_overlap(loop: Loop, tmp_path: Path) -> None:
    device = loop(64)
    assert signatures.probe_ends(device) == signatures.Ends(zero=True)
    assert not signatures.probe_ends(device, span=signatures.SPAN - 4096).zero
    for size in (signatures.SPAN + signatures.TAIL, signatures.SPAN + signatures.TAIL - 4096):
        os.truncate(tmp_path / "disk.img", size)
        devices.refresh_size(device)
        assert signatures.probe_ends(device).zero is (size >= signatures.SPAN + signatures.TAIL)


def test_what_does_not_say_that_it_is_not_zoned_counts_as_zoned(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with kernel.opened(str(tmp_path / "file"), os.O_RDONLY) as fd:
        assert signatures._is_zoned(fd)


@pytest.mark.parametrize("length", [4096, 12288])
def test_memory_is_zero_when_each_byte_is(length: int) -> None:
    with reading.memory(length) as buffer:
        assert reading.is_zero(buffer)
        for place in (0, 1, length // 2, length - 1):
            buffer[place] = 1
            assert not reading.is_zero(buffer)
            buffer[place] = 0
        buffer[:] = b"\x01" * length
        assert not reading.is_zero(buffer)
