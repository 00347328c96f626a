"""What a failed change of the file driver from thin to thick leaves behind: the space that was there before."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.drivers import allocation, extents
from csi_cinderlib.drivers.directories import Capacity, Directory, Limits
from tests.support.repeating import until

from .conftest import FakeVolume
from .test_thick_space import contested, free, leave
from .test_thin_and_thick import GIB, MIB, TO_THICK, allocated, retype, write

Make = Callable[..., Any]


class Optimistic(Directory):
    """A pool that seems to have room, so that only the kernel finds that the disk is full."""

    def capacity(self, *, count_anew: bool = False) -> Capacity:
        return Capacity(total=100 * GIB, free=100 * GIB, provisioned=0)


def optimistic(driver: Any, disk: Path) -> None:
    """Makes the driver's pool one of these."""
    pool = driver._pools[disk.name]
    made = Optimistic(pool.name, pool.path, pool.limits)
    made.prepare(pool.find_id())
    driver._pools[disk.name] = made


@pytest.mark.root
def test_a_finished_change_is_repeated_in_a_pool_that_is_below_its_reserve(set_up: Make, mounted: Make) -> None:
    disk = mounted("xfs", 3000)
    driver = set_up(str(disk), reserved_percentage=20)
    volume = FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    assert retype(driver, volume, TO_THICK) == (True, None)
    leave(disk, 300 * MIB)
    assert retype(driver, volume, TO_THICK) == (True, None)
    assert allocated(disk / volume.name) >= GIB


@pytest.mark.parametrize("free", [0, 5 << 30])
def test_nothing_more_always_fits(free: int) -> None:
    beyond = Capacity(total=100 << 30, free=free, provisioned=900 << 30)
    assert Limits(1.0, 20.0).find_obstacle(beyond, 0) == ""
    assert Limits(1.0, 20.0).find_obstacle(beyond, 1)


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_space_that_an_administrator_has_allocated_stays_after_a_failure(
    fs_type: str, set_up: Make, mounted: Make
) -> None:
    disk = mounted(fs_type, 3000)
    driver, volume = set_up(str(disk)), FakeVolume(size=4, host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    file = disk / volume.name
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), GIB, GIB)
    before = allocated(file)
    with pytest.raises(Exception, match="bytes more are needed"):
        retype(driver, volume, TO_THICK)
    assert allocated(file) == before


@pytest.mark.root
@pytest.mark.parametrize("in_use", [False, True])
def test_holes_that_were_filled_are_holes_again_after_the_kernel_fails_unless_a_node_may_write(
    in_use: bool, set_up: Make, mounted: Make
) -> None:
    disk = mounted("xfs", 3000)
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    file = disk / volume.name
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 128 * MIB, 64 * MIB)
    write(file, 900 * MIB, b"data" * 1024)
    content, before = _hash(file), allocated(file)
    volume.volume_attachment = (object(),) * in_use
    optimistic(driver, disk)
    leave(disk, 500 * MIB)
    with pytest.raises(Exception, match="no space left in the file system"):
        retype(driver, volume, TO_THICK)
    assert (allocated(file) > before + 256 * MIB) == in_use
    assert in_use or allocated(file) <= before + MIB
    assert _hash(file) == content
    (disk / ".filler").unlink()
    until(lambda: free(disk) > GIB)  # XFS frees the space later
    assert retype(driver, volume, TO_THICK) == (True, None)
    assert allocated(file) >= GIB


def _hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@pytest.mark.root
def test_space_that_others_take_releases_only_what_was_filled(set_up: Make, mounted: Make) -> None:
    disk = mounted("xfs", 3000)
    driver, volume = set_up(str(disk)), FakeVolume(host=f"host@files#{disk.name}")
    driver.create_volume(volume)
    with (disk / volume.name).open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, 256 * MIB)
    before = allocated(disk / volume.name)
    contested(driver, disk, at=6, leaving=20 * MIB)
    with pytest.raises(Exception, match="bytes more are needed"):
        retype(driver, volume, TO_THICK)
    assert before <= allocated(disk / volume.name) <= before + MIB


def test_a_map_of_many_extents_takes_no_memory() -> None:
    count = 200_000
    tracemalloc.start()
    try:
        found = ((number * 8192, number * 8192 + 4096, False) for number in range(count))
        assert sum(1 for _ in extents.divide(found, count * 8192)) == count
        assert tracemalloc.get_traced_memory()[1] < MIB
        filled = allocation.Filled()
        for number in range(count):
            filled.note(number * 8192 + 4096, number * 8192 + 8192)
        assert tracemalloc.get_traced_memory()[1] < 24 * count
    finally:
        tracemalloc.stop()
    assert list(filled.ranges())[:2] == [(4096, 8192), (12288, 16384)]


def test_more_holes_than_can_be_remembered_are_not_released() -> None:
    filled = allocation.Filled(most=2)
    for number in range(3):
        filled.note(number, number + 1)
    assert list(filled.ranges()) == []
