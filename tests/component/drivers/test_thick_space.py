"""The space that thick volumes take: only what is lacking, within the limits of the pool, and nothing after a failure."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder import faults
from csi_cinderlib.drivers import allocation
from csi_cinderlib.drivers.directories import Capacity, Directory
from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.host import devices
from tests.support.repeating import until

from .conftest import FakeSnapshot, FakeVolume
from .test_thin_and_thick import GIB, MIB, SPEC, THICK, TO_THICK, allocated, retype

Make = Callable[..., Any]
pytestmark = pytest.mark.root


def free(disk: Path) -> int:
    os.sync()
    state = os.statvfs(disk)
    return state.f_bavail * state.f_frsize


def leave(disk: Path, size: int) -> None:
    """Fill the disk until this many bytes are free."""
    with (disk / ".filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(disk) - size)


def write_all(path: Path) -> None:
    with path.open("r+b") as file:
        for offset in range(0, path.stat().st_size, 16 * MIB):
            os.pwrite(file.fileno(), os.urandom(4096) * (16 * MIB // 4096), offset)
        os.fsync(file.fileno())


def shared(set_up: Make, disk: Path, **options: object) -> tuple[Any, FakeVolume]:
    """A full volume of 1 GiB that shares all its data with a snapshot."""
    driver, volume = set_up(str(disk), **options), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    write_all(disk / volume.name)
    driver.create_snapshot(FakeSnapshot(volume))
    return driver, volume


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_thick_volume_grows_if_the_growth_has_room(fs_type: str, written: bool, set_up: Make, mounted: Make) -> None:
    disk = mounted(fs_type, 5000)
    driver, volume = set_up(str(disk)), FakeVolume(size=2, host=f"host@files#{disk.name}", volume_type=THICK)
    driver.create_volume(volume)
    if written:
        write_all(disk / volume.name)
    leave(disk, 1300 * MIB)
    assert retype(driver, volume, TO_THICK) == (True, None)
    driver.extend_volume(volume, 3)
    assert allocated(disk / volume.name) >= 3 * GIB


def test_shared_data_gets_its_own_space_if_that_has_room(set_up: Make, mounted: Make) -> None:
    disk = mounted("xfs", 2600)
    driver, volume = shared(set_up, disk)
    before = free(disk)
    for _ in range(2):
        assert retype(driver, volume, TO_THICK) == (True, None)
        assert before - free(disk) == pytest.approx(GIB, abs=16 * MIB)


@pytest.mark.parametrize("reserved", [0, 40])
def test_shared_data_counts_as_lacking(reserved: int, set_up: Make, mounted: Make) -> None:
    disk = mounted("xfs", 2600)
    driver, volume = shared(set_up, disk, reserved_percentage=reserved)
    if not reserved:
        leave(disk, 1000 * MIB)
    before = free(disk)
    for _ in range(2):
        with pytest.raises(Exception, match="bytes more are needed"):
            retype(driver, volume, TO_THICK)
    assert before - free(disk) < MIB


def test_a_growth_counts_shared_data_too(set_up: Make, mounted: Make) -> None:
    disk = mounted("xfs", 4000)
    driver, volume = shared(set_up, disk)
    leave(disk, 1400 * MIB)
    before, volume.volume_type = free(disk), THICK
    with pytest.raises(Exception, match="bytes more are needed"):
        driver.extend_volume(volume, 2)
    assert before - free(disk) < MIB
    assert (disk / volume.name).stat().st_size == GIB


def test_on_a_file_system_that_cannot_unshare_only_holes_count(set_up: Make, mounted: Make) -> None:
    disk = mounted("btrfs", 3000)
    driver, volume = shared(set_up, disk)
    leave(disk, 500 * MIB)
    assert retype(driver, volume, TO_THICK) == (True, None)


class Contested(Directory):
    """A pool whose space others take while it is counted for the `at`th time; `counted` is how often it was."""

    counted = 0
    at = 0
    leaving = 0

    def capacity(self, *, count_anew: bool = False) -> Capacity:
        self.counted += 1
        if self.counted == self.at:
            leave(Path(self.path), self.leaving)
        return super().capacity(count_anew=count_anew)


def contested(driver: Any, disk: Path, *, at: int = 0, leaving: int = 0) -> Contested:
    """Makes the driver's pool one of these."""
    pool = driver._pools[disk.name]
    made = Contested(pool.name, pool.path, pool.limits)
    made.prepare(pool.find_id())
    made.at, made.leaving = at, leaving
    driver._pools[disk.name] = made
    return made


@pytest.mark.parametrize("attached", [False, True])
def test_space_that_others_take_meanwhile_ends_the_change(attached: bool, set_up: Make, mounted: Make) -> None:
    """What was allocated is released, unless a node may be writing to the file: then the next attempt continues."""
    disk = mounted("xfs", 3000)
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    volume.volume_attachment = (object(),) * attached
    contested(driver, disk, at=6, leaving=20 * MIB)
    with pytest.raises(Exception, match="bytes more are needed"):
        retype(driver, volume, TO_THICK)
    assert (allocated(disk / volume.name) >= 256 * MIB) == attached
    (disk / ".filler").unlink()
    until(lambda: free(disk) > 2 * GIB)  # XFS frees the space later
    retype(driver, volume, TO_THICK)
    assert allocated(disk / volume.name) >= GIB


def test_a_growth_without_room_gives_back_what_it_had_allocated(set_up: Make, mounted: Make) -> None:
    disk = mounted("ext4", 4000)
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}", volume_type=THICK)
    driver.create_volume(volume)
    contested(driver, disk, at=6, leaving=20 * MIB)
    with pytest.raises(Exception, match="bytes more are needed"):
        driver.extend_volume(volume, 2)
    assert allocated(disk / volume.name) < GIB + 16 * MIB


def test_a_lack_of_room_is_one_for_the_controller_too(set_up: Make, mounted: Make) -> None:
    disk = mounted("ext4", 1500)
    driver, volume = set_up(str(disk)), FakeVolume(size=2, host=f"host@files#{disk.name}", volume_type=THICK)
    with pytest.raises(Exception) as raised:
        driver.create_volume(volume)
    assert isinstance(faults.translate("files", raised.value), ResourceExhausted)


def test_a_volume_in_use_is_changed_in_steps(set_up: Make, mounted: Make) -> None:
    """Writers wait for one step at most. The room is checked at first, and before each step."""
    disk = mounted("xfs", 4000)
    driver, volume = shared(set_up, disk)
    pool = contested(driver, disk)
    device = devices.attach_file(str(disk / volume.name))
    try:
        assert retype(driver, volume, TO_THICK) == (True, None)
    finally:
        devices.detach_file(device, expected=devices.identity(device))
    assert pool.counted >= 1 + GIB // (64 * MIB)


def test_a_file_system_without_fallocate_has_no_thick_volumes(set_up: Make, mounted: Make) -> None:
    disk = mounted("ext4", 256, options=("-O", "^extent,^64bit,^has_journal"))
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    (report,) = driver.get_volume_stats(refresh=True)["pools"]
    assert (report["thick_provisioning_support"], report["known_extra_specs"]) == (False, {SPEC: ["thin"]})
    assert retype(driver, volume, TO_THICK) == (False, None)


def test_a_full_disk_does_not_hide_that_volumes_can_be_thick(set_up: Make, mounted: Make) -> None:
    disk = mounted("ext4", 256)
    driver = set_up(str(disk))
    (report,) = driver.get_volume_stats(refresh=True)["pools"]
    assert report["known_extra_specs"] == {SPEC: ["thin", "thick"]}
    with (disk / ".filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(disk))
    assert allocation.is_supported(driver._pools[disk.name])
