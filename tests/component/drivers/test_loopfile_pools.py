from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.drivers import directories
from csi_cinderlib.host import mounts
from csi_cinderlib.model.size import BYTES_PER_GIB

from .conftest import FakeSnapshot, FakeVolume

GIB = BYTES_PER_GIB
MIB = 1024 * 1024
Make = Callable[..., Any]


def only_pool(driver: Any) -> dict[str, Any]:
    (pool,) = driver.get_volume_stats(refresh=True)["pools"]
    found: dict[str, Any] = pool
    return found


@pytest.mark.root
def test_a_report_counts_what_is_promised_and_what_is_free(set_up: Make, mounted: Make) -> None:
    directory: Path = mounted("tmpfs", 2048)
    driver = set_up(str(directory), reserved_percentage=10, max_over_subscription_ratio=3)
    volume = FakeVolume(size=2)
    driver.create_volume(volume)
    driver.create_snapshot(FakeSnapshot(volume))
    pool = only_pool(driver)
    assert pool["pool_name"] == "volumes"
    assert pool["total_capacity_gb"] == 2
    assert pool["provisioned_capacity_gb"] == 4
    assert pool["free_capacity_gb"] == pytest.approx(2, abs=0.01)
    assert pool["reserved_percentage"] == 10
    assert pool["max_over_subscription_ratio"] == 3
    assert pool["multiattach"]
    assert pool["thin_provisioning_support"]


@pytest.mark.root
def test_over_subscription_is_refused_at_the_ratio_and_not_before(set_up: Make, mounted: Make) -> None:
    directory: Path = mounted("tmpfs", 1024)
    driver = set_up(str(directory), max_over_subscription_ratio=3)
    first, second = FakeVolume(size=2), FakeVolume(size=1)
    driver.create_volume(first)
    driver.create_volume(second)
    for attempt, arguments in (
        (driver.create_volume, (FakeVolume(size=1),)),
        (driver.create_snapshot, (FakeSnapshot(second),)),
        (driver.create_cloned_volume, (FakeVolume(size=1), second)),
        (driver.extend_volume, (second, 2)),
    ):
        with pytest.raises(Exception, match=r"pool 'volumes'.*exceed the capacity: .* max_over_subscription_ratio 3"):
            attempt(*arguments)
    assert only_pool(driver)["provisioned_capacity_gb"] == 3
    driver.delete_volume(second)
    driver.create_volume(FakeVolume(size=1))
    assert only_pool(driver)["provisioned_capacity_gb"] == 3


@pytest.mark.root
def test_the_reserve_is_not_given_out(set_up: Make, mounted: Make) -> None:
    driver = set_up(str(mounted("tmpfs", 2048)), reserved_percentage=60, max_over_subscription_ratio=1)
    with pytest.raises(Exception, match="60 % of the total reserved"):
        driver.create_volume(FakeVolume(size=1))


@pytest.mark.root
def test_callers_at_once_share_the_room_exactly(set_up: Make, mounted: Make) -> None:
    directory: Path = mounted("tmpfs", 1024)
    drivers = [set_up(str(directory), max_over_subscription_ratio=20) for _ in range(2)]

    def create(number: int) -> bool:
        try:
            drivers[number % 2].create_volume(FakeVolume(size=1))
        except Exception as error:
            assert "exceed the capacity" in str(error)
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(create, range(50)))
    assert results.count(True) == 20
    assert [only_pool(driver)["provisioned_capacity_gb"] for driver in drivers] == [20, 20]


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["tmpfs", "ext4"])
def test_a_full_disk_is_a_clean_error_with_nothing_half_made(fs_type: str, set_up: Make, mounted: Make) -> None:
    directory: Path = mounted(fs_type, 96)
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    with (directory / volume.name).open("r+b") as file:
        file.write(os.urandom(60 * MIB))
    snapshot, cloned = FakeSnapshot(volume), FakeVolume()
    with pytest.raises(Exception, match="no space left in the file system"):
        driver.create_snapshot(snapshot)
    with pytest.raises(Exception, match="no space left in the file system"):
        driver.create_cloned_volume(cloned, volume)
    assert {entry.name for entry in directory.iterdir() if entry.is_file() and entry.name != ".lock"} == {volume.name}
    assert not list((directory / ".incomplete").iterdir())
    assert only_pool(driver)["provisioned_capacity_gb"] == 1


@pytest.mark.root
def test_a_read_only_directory_is_named_at_set_up(set_up: Make, mounted: Make) -> None:
    directory: Path = mounted("tmpfs", 16)
    mounts.bind_with(str(directory), str(directory), ("ro",))
    with pytest.raises(Exception, match=rf"cannot use the directory {directory}: Read-only file system"):
        set_up(str(directory))


def test_a_path_that_is_a_file_is_named_at_set_up(set_up: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match=r"cannot use the directory .*/file: Not a directory"):
        set_up(str(tmp_path / "file"))


@pytest.mark.parametrize(
    "entries", [["relative"], ["name:relative"], ["/a", "/b/a"], ["a:/x", "b:/x"], ["a#b:/x"], ["/"]]
)
def test_a_wrong_list_of_directories_names_the_entry(entries: list[str], construct: Make) -> None:
    with pytest.raises(Exception, match="loopfile_directories"):
        construct(*entries).do_setup(None)


def test_volumes_go_to_the_pool_that_the_scheduler_chose(set_up: Make, tmp_path: Path) -> None:
    driver = set_up(f"fast:{tmp_path}/a", f"slow:{tmp_path}/b")
    volume = FakeVolume(host="host@files#slow")
    driver.create_volume(volume)
    assert (tmp_path / "b" / volume.name).exists()
    with pytest.raises(Exception, match="unknown pool 'lost'; pools: "):
        driver.create_volume(FakeVolume(host="host@files#lost"))


def test_a_host_without_a_pool_gets_one(set_up: Make, tmp_path: Path) -> None:
    driver = set_up(f"fast:{tmp_path}/a", f"slow:{tmp_path}/b")
    volume = FakeVolume(host="host@files")
    driver.create_volume(volume)
    assert driver.get_pool(volume) in ("fast", "slow")


def test_two_hosts_share_a_directory(set_up: Make, volumes: Path) -> None:
    one, two = set_up(str(volumes)), set_up(str(volumes))
    volume, snapshot = FakeVolume(), None
    one.create_volume(volume)
    with pytest.raises(Exception, match="File exists"):
        two.create_volume(volume)
    snapshot = FakeSnapshot(volume)
    two.create_snapshot(snapshot)
    one.extend_volume(volume, 3)
    assert two._pools["volumes"].capacity().provisioned == 4 * GIB
    two.delete_snapshot(snapshot)
    two.delete_volume(volume)
    assert one._pools["volumes"].capacity().provisioned == 0


def test_what_a_crash_left_is_removed_at_the_next_start_but_not_what_is_being_made(set_up: Make, volumes: Path) -> None:
    set_up(str(volumes))
    left, busy = volumes / ".incomplete" / "volume-left", volumes / ".incomplete" / "volume-busy"
    left.touch()
    with busy.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        set_up(str(volumes))
        assert busy.exists()
    assert not left.exists()
    set_up(str(volumes))
    assert not busy.exists()


def test_files_that_others_put_there_are_counted_at_the_next_report(set_up: Make, volumes: Path) -> None:
    driver = set_up(str(volumes))
    driver.create_volume(FakeVolume(size=1))
    with (volumes / "foreign.img").open("wb") as file:
        file.truncate(5 * GIB)
    assert only_pool(driver)["provisioned_capacity_gb"] == 6


def test_a_crash_between_the_mark_and_the_change_costs_a_count_only(volumes: Path) -> None:
    pool = directories.Directory("pool", str(volumes), directories.Limits())
    other = directories.Directory("pool", str(volumes), directories.Limits())
    for directory in (pool, other):
        directory.prepare(directory.initialise())
    assert other.capacity().provisioned == 0
    with pool._changing() as lock:
        pool._changed(lock, 0)
        with (volumes / "volume").open("wb") as file:
            file.truncate(GIB)
    assert other.capacity().provisioned == GIB
    assert pool.capacity(count_anew=True).provisioned == GIB


@pytest.mark.parametrize(
    ("provisioned", "free", "more", "fits"),
    [(0, 10, 10, True), (0, 10, 21, False), (15, 10, 5, True), (15, 10, 6, False), (0, 1, 2, True), (0, 1, 3, False)],
)
def test_the_rule_is_cinders(provisioned: int, free: int, more: int, fits: bool) -> None:
    limits = directories.Limits(max_over_subscription_ratio=2)
    now = directories.Capacity(total=10, free=free, provisioned=provisioned)
    assert (limits.find_obstacle(now, more) == "") is fits


def test_a_deletion_that_cannot_tell_others_of_itself_on_a_full_disk_goes_on(
    set_up: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """btrfs needs room also to write in the place of what is there."""
    driver, volume = set_up(str(tmp_path / "volumes")), FakeVolume(size=1)
    driver.create_volume(volume)

    def no_room(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", no_room)
    driver.delete_volume(volume)
    assert only_pool(driver)["provisioned_capacity_gb"] == 0
