"""The file driver's volumes as thin and thick files, and the change from one to the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.host import devices
from csi_cinderlib.model.size import BYTES_PER_GIB
from tests.support.disks import Disk

from .conftest import FakeSnapshot, FakeVolume

GIB = BYTES_PER_GIB
MIB = 1024 * 1024
Make = Callable[..., Any]
SPEC = "provisioning:type"
THICK = SimpleNamespace(extra_specs={SPEC: "thick"})
TO_THICK = {"extra_specs": {SPEC: (None, "thick")}}
TO_THIN = {"extra_specs": {SPEC: ("thick", "thin")}}


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def retype(driver: Any, volume: FakeVolume, diff: Any) -> tuple[bool, None]:
    answer: tuple[bool, None] = driver.retype(None, volume, None, diff, {"host": volume.host})
    return answer


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, mounted: Make) -> Path:
    """A file system of 5 GiB."""
    found: Path = mounted(request.param, 5120)
    return found


def test_another_pool_would_need_a_migration(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume()
    assert driver.retype(None, volume, None, TO_THICK, {"host": "other@b#p"}) == (False, None)


@pytest.mark.root
def test_a_thin_volume_becomes_thick_and_thin_again_with_its_data(set_up: Make, disk: Path) -> None:
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    file, size = disk / volume.name, 64 * MIB
    os.truncate(file, size)  # to read all of it in no time
    for offset in (0, 32 * MIB + 4096, size - 4096):
        write(file, offset, b"data" * 1024)
    content = file.read_bytes()
    assert retype(driver, volume, TO_THICK) == (True, None)
    assert allocated(file) >= size
    assert file.read_bytes() == content
    write(file, 50 * MIB, b"more")
    assert retype(driver, volume, TO_THIN) == (True, None)
    assert allocated(file) < MIB
    assert file.read_bytes() == content[: 50 * MIB] + b"more" + content[50 * MIB + 4 :]


@pytest.mark.root
def test_new_copied_reverted_and_grown_thick_volumes_are_allocated(set_up: Make, disk: Path) -> None:
    driver = set_up(str(disk))
    host = f"host@files#{disk.name}"
    volume, clone = FakeVolume(host=host, volume_type=THICK), FakeVolume(host=host, volume_type=THICK)
    driver.create_volume(volume)
    assert allocated(disk / volume.name) >= GIB
    snapshot = FakeSnapshot(volume)
    driver.create_snapshot(snapshot)
    assert allocated(disk / snapshot.name) < MIB
    assert allocated(disk / volume.name) >= GIB
    driver.revert_to_snapshot(None, volume, snapshot)
    assert allocated(disk / volume.name) >= GIB
    driver.create_cloned_volume(clone, volume)
    assert allocated(disk / clone.name) >= GIB
    driver.delete_volume(clone)
    driver.extend_volume(volume, 2)
    assert allocated(disk / volume.name) >= 2 * GIB


@pytest.mark.root
def test_a_pool_without_the_space_refuses_and_the_volume_stays_thin(set_up: Make, disk: Path) -> None:
    driver, volume = set_up(str(disk)), FakeVolume(size=6, host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    write(disk / volume.name, MIB, b"data")
    before = allocated(disk / volume.name)
    with pytest.raises(Exception, match=r"cannot change .* from thin to thick: .* bytes more are needed"):
        retype(driver, volume, TO_THICK)
    assert allocated(disk / volume.name) == before


@pytest.mark.root
def test_a_thick_volume_is_not_extended_without_the_space_for_all_of_it(set_up: Make, disk: Path) -> None:
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}", volume_type=THICK)
    driver.create_volume(volume)
    file = disk / volume.name
    with pytest.raises(Exception, match=r"cannot extend .* bytes more are needed"):
        driver.extend_volume(volume, 6)
    assert (file.stat().st_size, allocated(file) < 2 * GIB) == (GIB, True)
    driver.extend_volume(volume, 3)
    assert (file.stat().st_size, allocated(file) >= 3 * GIB) == (3 * GIB, True)


@pytest.mark.root
def test_reserved_space_is_not_allocated(set_up: Make, disk: Path) -> None:
    driver, volume = set_up(str(disk), reserved_percentage=80), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    with pytest.raises(Exception, match="80 % of the total are reserved"):
        retype(driver, volume, TO_THICK)


@pytest.mark.root
def test_a_thick_volume_can_be_written_on_a_full_disk(set_up: Make, mounted: Make) -> None:
    disk = mounted("ext4", 3072)
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}", volume_type=THICK)
    driver.create_volume(volume)
    Disk(disk).fill()
    with (disk / volume.name).open("r+b") as file:
        for offset in range(0, GIB, 64 * MIB):
            os.pwrite(file.fileno(), b"x" * 4096, offset)
        os.fsync(file.fileno())


@pytest.mark.root
@pytest.mark.parametrize("user", ["record", "device", "unknown"])
def test_nothing_is_released_while_the_volume_is_in_use(user: str, set_up: Make, disk: Path) -> None:
    """By its record, or by a loop device of this host, or perhaps by another program if the file is not managed."""
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}", volume_type=THICK)
    driver.create_volume(volume)
    file = disk / volume.name
    if user == "record":
        volume.volume_attachment = (object(),)
        assert retype(driver, volume, TO_THIN) == (True, None)
    elif user == "unknown":
        volume.own_name = volume.name  # type: ignore[attr-defined]
        assert retype(driver, volume, TO_THIN) == (True, None)
    else:
        device = devices.attach_file(str(file))
        try:
            assert retype(driver, volume, TO_THIN) == (True, None)
        finally:
            devices.detach_file(device, expected=devices.identity(device))
    assert allocated(file) >= GIB


@pytest.mark.root
def test_no_write_is_lost_while_space_is_allocated(set_up: Make, disk: Path) -> None:
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    file, ended = disk / volume.name, threading.Event()
    written: list[int] = []

    def writer() -> None:
        with file.open("r+b") as opened:
            for block in range(0, GIB // 4096, 97):
                os.pwrite(opened.fileno(), block.to_bytes(8, "little") * 512, block * 4096)
                written.append(block)
                if ended.is_set():
                    return

    thread = threading.Thread(target=writer)
    thread.start()
    for _ in range(3):
        retype(driver, volume, TO_THICK)
    ended.set()
    thread.join(60)
    with file.open("rb") as opened:
        for block in written:
            assert os.pread(opened.fileno(), 4096, block * 4096) == block.to_bytes(8, "little") * 512
