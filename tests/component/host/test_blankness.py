"""Blank is proven: what hides from a look at both ends is found, and what an interrupted mkfs left can be made blank again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import blankness, commands, devices, filesystems, mounts
from csi_cinderlib.host.disposable import Disposable

Loop = Callable[..., str]
MIB, GIB = 1024**2, 1024**3
SIZE_MIB = 1024
DATA = b"somebody's data" * 1000

FORMATS = {
    "ext4": ("mkfs.ext4", "-q"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
}
"""What this program makes; test_formats.py has all others."""

needs_root = pytest.mark.root


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop device is looked at as a disk of an array is, of which nobody knows where its data is."""
    monkeypatch.setattr(blankness, "_backing_file", lambda _device: "")


@pytest.fixture(params=["a file", "a disk"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "a disk":
        request.getfixturevalue("sampled")
    return str(request.param)


def formatted(loop: Loop, name: str) -> str:
    device = loop(SIZE_MIB, block_size=512)
    commands.run([*FORMATS[name], device], timeout=300)
    devices.flush(device)
    return device


def overwrite(device: str, offset: int, data: bytes) -> None:
    with Path(device).open("r+b") as file:
        file.seek(offset)
        file.write(data)
    devices.flush(device)


@needs_root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [512, 4096 + 512, MIB - 512, 16 * MIB + 512, 33 * MIB - 512, GIB, GIB + 7 * 512])
def test_a_new_device_is_blank(loop: Loop, tmp_path: Path, size: int) -> None:
    device = loop(size // MIB + 1, block_size=512)
    os.truncate(tmp_path / "disk.img", size)
    devices.refresh_size(device)
    assert blankness.is_blank(device)


@needs_root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["xfs", "ext4", "btrfs"])
def test_a_file_system_with_data_whose_ends_were_zeroed_is_not_taken_for_blank(
    loop: Loop, target: str, name: str
) -> None:
    device = formatted(loop, name)
    mounts.mount(device, target, name)
    (Path(target) / "file").write_bytes(DATA)
    mounts.unmount(target)
    for offset in (0, SIZE_MIB * MIB - 16 * MIB):
        overwrite(device, offset, bytes(16 * MIB))
    assert not blankness.is_blank(device)


@needs_root
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("offset", [MIB, 2 * MIB, 2 * MIB + 4095, 16 * MIB - 1, -1, -16 * MIB])
def test_one_byte_near_an_end_is_found(loop: Loop, offset: int) -> None:
    device = loop(SIZE_MIB)
    overwrite(device, offset if offset >= 0 else SIZE_MIB * MIB + offset, b"\1")
    assert not blankness.is_blank(device)


@needs_root
def test_one_byte_anywhere_in_a_file_is_found(loop: Loop) -> None:
    device = loop(SIZE_MIB, block_size=512)

    @given(st.integers(0, SIZE_MIB * MIB - 1), st.integers(1, 255))
    @settings(max_examples=60, deadline=None)
    def check(offset: int, value: int) -> None:
        overwrite(device, offset, bytes([value]))
        assert any(start <= offset < start + length for start, length in blankness.nonzero(device))
        overwrite(device, offset, b"\0")
        assert blankness.is_blank(device)

    check()


@needs_root
@pytest.mark.usefixtures("way")
def test_raw_data_from_2_mib_on_is_found(loop: Loop) -> None:
    device = loop(SIZE_MIB)
    overwrite(device, 2 * MIB, DATA * 500)
    assert not blankness.is_blank(device)


@needs_root
def test_written_zeros_are_blank(loop: Loop) -> None:
    device = loop(64)
    overwrite(device, 0, bytes(64 * MIB))
    assert blankness.is_blank(device)


@needs_root
@pytest.mark.usefixtures("way")
def test_a_part_that_cannot_be_read_is_an_error_and_not_blank(loop: Loop, tmp_path: Path) -> None:
    device = loop(SIZE_MIB)
    os.truncate(tmp_path / "disk.img", 512 * MIB)
    with pytest.raises(HostError, match=f"cannot read {device}: "):
        blankness.is_blank(device)


def test_places_are_in_order_within_the_device_and_whole_blocks() -> None:
    for size in (4096, 10 * MIB, 3 * GIB + 512 * 3, 20 * 1024 * GIB):
        end = 0
        for offset, length in blankness.places(size):
            assert end <= offset < offset + length <= size
            assert offset % blankness.BLOCK == 0
            assert length <= 4 * MIB
            end = offset + length


@given(st.integers(1, 64 * 1024 * GIB // 512), st.data())
@settings(max_examples=25)
def test_every_byte_of_both_ends_and_each_of_4096_samples_is_looked_at(sectors: int, data: st.DataObject) -> None:
    size = sectors * 512
    looked_at = list(blankness.places(size))
    near = data.draw(st.integers(0, min(size, 16 * MIB) - 1))
    sample = data.draw(st.integers(0, 4095)) * size // 4096
    for place in (near, size - 1 - near, sample):
        assert any(offset <= place < offset + length for offset, length in looked_at)


@pytest.mark.parametrize(
    ("size", "place"),
    [
        (GIB, 128 * MIB),  # ext4's first spare superblock
        (GIB, 8 * MIB + 1024),  # the same with blocks of 1 KiB
        (GIB, 768 * MIB),  # the last of four groups of XFS
        # Places that no sample of a larger device meets:
        (300 * GIB, 128 * MIB),  # ext4's first spare superblock
        (300 * GIB, 49 * 128 * MIB),  # one of its later ones
        (300 * GIB, 24 * MIB + 1024),  # with blocks of 1 KiB
        (300 * GIB, 25 * 32 * MIB),  # with blocks of 2 KiB
        (300 * GIB, 4915184 * 4096),  # XFS with `-d su=64k,sw=4`
        (10 * 1024 * GIB, 9 * 268435455 * 4096),  # the last of ten groups of XFS
        (GIB, 64 * MIB),  # btrfs
        (300 * GIB, 256 * GIB),  # btrfs
        (10 * GIB, 4 * GIB),  # ocfs2
        (10 * GIB, 5 * GIB),  # NTFS
        (10 * GIB, 3 * GIB - 512),  # GPT's copy, of when the disk had 3 GiB
        (10 * GIB, 3 * GIB - 33 * 512),
        (10 * GIB, 3 * GIB - 65536),  # md 0.90
        (10 * GIB, 3 * GIB - 8192),  # md 1.0
        (10 * GIB, 3 * GIB - 384 * 1024),  # ZFS
        (10 * GIB, 3 * GIB - MIB),  # LVM's second copy, bcachefs
    ],
)
def test_where_formats_keep_their_copies_is_looked_at(size: int, place: int) -> None:
    assert any(offset <= place < offset + length for offset, length in blankness.places(size))


@needs_root
@pytest.mark.parametrize("punches", [True, False])
@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs"])
def test_what_mkfs_left_is_erased_so_that_the_device_is_blank_again(
    loop: Loop, name: str, punches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not punches:
        monkeypatch.setattr(blankness, "_punch", lambda *_: False)
        monkeypatch.setattr(blankness, "_backing_file", lambda _device: "")
    device = formatted(loop, name)
    blankness.erase(Disposable(device))
    assert blankness.is_blank(device)
    assert filesystems.probe(device) is None


@needs_root
def test_the_last_bytes_of_an_odd_size_are_erased(loop: Loop, tmp_path: Path) -> None:
    device = loop(4, block_size=512)
    os.truncate(tmp_path / "disk.img", 4 * MIB + 512)
    devices.refresh_size(device)
    overwrite(device, 0, b"\1" * (4 * MIB + 512))
    blankness.erase(Disposable(device))
    assert not any(Path(device).read_bytes())


@needs_root
def test_a_device_that_is_in_use_is_not_erased(loop: Loop, target: str) -> None:
    device = formatted(loop, "ext4")
    mounts.mount(device, target, "ext4")
    with pytest.raises(HostError, match=f"cannot erase {device}: Device or resource busy"):
        blankness.erase(Disposable(device))
