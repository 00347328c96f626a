from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.host import devices
from csi_cinderlib.model.size import BYTES_PER_GIB

from .conftest import FakeSnapshot, FakeVolume

GIB = BYTES_PER_GIB
Make = Callable[..., Any]
MIB = 1024 * 1024


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir() if entry.is_file() and not entry.name.startswith(".")}


def test_a_new_volume_is_a_hole_of_its_size(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume(size=3)
    driver.create_volume(volume)
    file = volumes / volume.name
    assert file.stat().st_size == 3 * GIB
    assert allocated(file) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list((volumes / ".incomplete").iterdir())


def test_a_volume_that_is_there_already_is_not_overwritten(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume()
    driver.create_volume(volume)
    write(volumes / volume.name, 0, b"data")
    with pytest.raises(Exception, match="File exists"):
        driver.create_volume(volume)
    assert read(volumes / volume.name, 0, 4) == b"data"


def test_deleting_what_is_gone_says_so(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume()
    snapshot = FakeSnapshot(volume)
    driver.create_volume(volume)
    driver.create_snapshot(snapshot)
    driver.delete_volume(volume)
    driver.delete_snapshot(snapshot)
    assert names(volumes) == set()
    with pytest.raises(Exception, match=f"Volume {volume.id} could not be found"):
        driver.delete_volume(volume)
    with pytest.raises(Exception, match=f"Snapshot {snapshot.id} could not be found"):
        driver.delete_snapshot(snapshot)


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["xfs", "btrfs", "ext4"])
def test_snapshot_restore_clone_and_revert_keep_the_data_and_the_holes(
    fs_type: str, set_up: Make, mounted: Make
) -> None:
    directory: Path = mounted(fs_type)
    driver, volume = set_up(str(directory)), FakeVolume(size=2)
    file = directory / volume.name
    driver.create_volume(volume)
    for offset in (0, 700 * MIB + 4096, 2 * GIB - 4096):
        write(file, offset, b"old!" * 1024)
    snapshot, restored, cloned = FakeSnapshot(volume), FakeVolume(size=3), FakeVolume(size=2)
    driver.create_snapshot(snapshot)
    write(file, 0, b"new!" * 1024)
    driver.create_volume_from_snapshot(restored, snapshot)
    driver.create_cloned_volume(cloned, volume)
    assert (directory / restored.name).stat().st_size == 3 * GIB
    assert read(directory / cloned.name, 0, 4096) == b"new!" * 1024
    for path in (directory / snapshot.name, directory / restored.name):
        assert read(path, 0, 4096) == b"old!" * 1024
        assert read(path, 700 * MIB, 8192) == bytes(4096) + b"old!" * 1024
        assert read(path, 2 * GIB - 4096, 4096) == b"old!" * 1024
        assert allocated(path) < MIB
    driver.extend_volume(volume, 4)
    driver.revert_to_snapshot(None, volume, snapshot)
    assert read(file, 0, 4096) == b"old!" * 1024
    assert file.stat().st_size == 4 * GIB
    write(file, 0, b"more")
    assert read(directory / snapshot.name, 0, 4) == b"old!"
    driver.delete_volume(volume)
    again = FakeVolume(size=2)
    driver.create_volume_from_snapshot(again, snapshot)
    for path in (directory / snapshot.name, directory / again.name):
        assert read(path, 700 * MIB, 8192) == bytes(4096) + b"old!" * 1024


@pytest.mark.root
def test_reflinks_take_no_space(set_up: Make, mounted: Make) -> None:
    directory: Path = mounted("xfs")
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    write(directory / volume.name, 0, os.urandom(64 * MIB))
    os.sync()
    free = os.statvfs(directory).f_bfree
    for _ in range(10):
        driver.create_snapshot(FakeSnapshot(volume))
    unit = os.statvfs(directory).f_frsize
    assert (free - os.statvfs(directory).f_bfree) * unit < 16 * MIB


@pytest.mark.root
def test_a_clone_into_another_pool_is_a_copy(set_up: Make, mounted: Make) -> None:
    one, two = mounted("xfs", name="one"), mounted("ext4", name="two")
    driver = set_up(f"first:{one}", f"second:{two}")
    volume, cloned = FakeVolume(host="h@b#first"), FakeVolume(host="h@b#second")
    driver.create_volume(volume)
    write(one / volume.name, 5 * MIB, b"data")
    driver.create_cloned_volume(cloned, volume)
    assert read(two / cloned.name, 5 * MIB, 4) == b"data"
    assert (driver.get_pool(volume), driver.get_pool(cloned)) == ("first", "second")


def test_a_volume_smaller_than_its_source_is_refused(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume(size=2)
    driver.create_volume(volume)
    with pytest.raises(Exception, match="1 GiB is less than the source's"):
        driver.create_cloned_volume(FakeVolume(size=1), volume)
    assert names(volumes) == {volume.name}


def test_a_missing_volume_or_snapshot_is_named_as_cinder_does(set_up: Make, volumes: Path) -> None:
    from cinder import exception

    driver, volume = set_up(str(volumes)), FakeVolume()
    with pytest.raises(exception.VolumeNotFound, match=volume.id):
        driver.extend_volume(volume, 2)
    snapshot = FakeSnapshot(volume)
    with pytest.raises(exception.SnapshotNotFound, match=snapshot.id):
        driver.create_volume_from_snapshot(FakeVolume(), snapshot)


def test_extending_grows_and_never_shrinks(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume(size=2)
    driver.create_volume(volume)
    driver.extend_volume(volume, 5)
    driver.extend_volume(volume, 3)
    assert (volumes / volume.name).stat().st_size == 5 * GIB


def test_a_connection_is_the_file_itself(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume()
    driver.create_volume(volume)
    for call in (driver.ensure_export, driver.remove_export):
        call(None, volume)
    driver.create_export(None, volume, {})
    info = driver.initialize_connection(volume, {"host": "any"})
    driver.terminate_connection(volume, {"host": "any"})
    assert info["driver_volume_type"] == "local"
    assert info["data"]["device_path"] == str(volumes / volume.name)
    assert info["data"]["block_size"] == 4096
    assert driver.local_path(volume) == str(volumes / volume.name)


@pytest.mark.root
def test_a_volume_on_a_loop_device_is_not_reverted_under_its_user(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume()
    snapshot = FakeSnapshot(volume)
    driver.create_volume(volume)
    driver.create_snapshot(snapshot)
    device = devices.attach_file(str(volumes / volume.name))
    try:
        with pytest.raises(Exception, match=f"still attached to {device}"):
            driver.revert_to_snapshot(None, volume, snapshot)
    finally:
        devices.detach_from(str(volumes / volume.name))
    driver.revert_to_snapshot(None, volume, snapshot)
    assert (volumes / volume.name).stat().st_size == GIB


@pytest.mark.root
def test_a_snapshot_of_a_volume_in_use_is_one_point_in_time(set_up: Make, mounted: Make) -> None:
    """The writer numbers blocks one after the other: a higher number before a lower one would be two points in time."""
    directory: Path = mounted("ext4")
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    device = devices.attach_file(str(directory / volume.name))
    began, stop = threading.Event(), threading.Event()
    pause = 0.03

    def work() -> None:
        number = 0
        fd = os.open(device, os.O_RDWR | os.O_SYNC)
        while not stop.wait(pause):
            number += 1
            for place in (0, 512 * MIB, 1023 * MIB):
                os.pwrite(fd, number.to_bytes(8, "little") * 512, place)
            began.set()
        os.close(fd)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        assert began.wait(60)
        for _ in range(5):
            snapshot = FakeSnapshot(volume)
            while not is_taken(driver, snapshot):
                pause *= 2  # a busy machine may not copy anything between two writes
                assert pause < 20
            found = [
                int.from_bytes(read(directory / snapshot.name, place, 8), "little")
                for place in (0, 512 * MIB, 1023 * MIB)
            ]
            assert found == sorted(found, reverse=True)
            assert found[0] - found[2] <= 1
            driver.delete_snapshot(snapshot)
    finally:
        stop.set()
        writer.join()
        devices.detach_from(str(directory / volume.name))


def is_taken(driver: Any, snapshot: FakeSnapshot) -> bool:
    """Or refused, because a copy took longer each time than the writer paused."""
    try:
        driver.create_snapshot(snapshot)
    except Exception as error:
        assert "written to continuously" in str(error)
        return False
    return True


WRITER = """
import sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    while True:
        file.seek(0)
        file.write(b"x")
"""


@pytest.mark.root
def test_a_copy_that_writers_never_let_finish_is_an_error_that_leaves_nothing(set_up: Make, mounted: Make) -> None:
    directory: Path = mounted("ext4")
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    write(directory / volume.name, 0, os.urandom(32 * MIB))
    before = (directory / volume.name).stat().st_mtime_ns
    with subprocess.Popen([sys.executable, "-c", WRITER, str(directory / volume.name)]) as writer:
        try:
            os.setpriority(os.PRIO_PROCESS, writer.pid, -20)  # it must write during each copy, however busy the machine
            while (directory / volume.name).stat().st_mtime_ns == before:
                time.sleep(0.01)
            with pytest.raises(Exception, match="written to continuously"):
                driver.create_snapshot(FakeSnapshot(volume))
        finally:
            writer.kill()
    assert names(directory) == {volume.name}
    assert not list((directory / ".incomplete").iterdir())


@pytest.mark.root
@pytest.mark.parametrize("fs_type", ["xfs", "ext4"])
def test_a_group_snapshot_shows_all_its_volumes_at_one_point_in_time(fs_type: str, set_up: Make, mounted: Make) -> None:
    directory: Path = mounted(fs_type)
    driver, group = set_up(str(directory)), FakeVolume()
    members = [FakeVolume() for _ in range(3)]
    assert driver.create_group(None, group) == {"status": "available"}
    for number, volume in enumerate(members):
        driver.create_volume(volume)
        write(directory / volume.name, 0, f"member {number}".encode())
    snapshots = [FakeSnapshot(volume) for volume in members]
    model, updates = driver.create_group_snapshot(None, group, snapshots)
    assert model == {"status": "available"}
    assert [update["id"] for update in updates] == [snapshot.id for snapshot in snapshots]
    for number, snapshot in enumerate(snapshots):
        assert read(directory / snapshot.name, 0, 8) == f"member {number}".encode()
    copies = [FakeVolume() for _ in range(3)]
    driver.create_group_from_src(None, group, copies, group_snapshot=group, snapshots=snapshots)
    assert read(directory / copies[2].name, 0, 8) == b"member 2"
    driver.delete_group_snapshot(None, group, snapshots)
    model, updates = driver.delete_group(None, group, members)
    assert model == {"status": "deleted"}
    assert names(directory) == {volume.name for volume in copies}


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a group"])
def test_a_snapshot_holds_all_of_a_volume_that_is_larger_than_its_record_says(
    set_up: Make, volumes: Path, together: bool
) -> None:
    """As after an older copy of the metadata was restored."""
    driver, volume = set_up(str(volumes)), FakeVolume(size=1)
    driver.create_volume(volume)
    driver.extend_volume(volume, 3)
    write(volumes / volume.name, 3 * GIB - 4, b"tail")
    snapshot = FakeSnapshot(volume)
    if together:
        driver.create_group_snapshot(None, FakeVolume(), [snapshot])
    else:
        driver.create_snapshot(snapshot)
    assert read(volumes / snapshot.name, 3 * GIB - 4, 4) == b"tail"


def test_a_group_snapshot_that_fails_leaves_no_member(set_up: Make, volumes: Path) -> None:
    driver, group = set_up(str(volumes)), FakeVolume()
    members = [FakeVolume(), FakeVolume()]
    for volume in members:
        driver.create_volume(volume)
    snapshots = [FakeSnapshot(volume) for volume in members]
    (volumes / snapshots[1].name).touch()
    with pytest.raises(Exception, match="File exists"):
        driver.create_group_snapshot(None, group, snapshots)
    assert not (volumes / snapshots[0].name).exists()


def test_an_existing_file_is_managed_grows_to_whole_gib_and_is_let_go(set_up: Make, volumes: Path) -> None:
    driver, volume = set_up(str(volumes)), FakeVolume()
    (volumes / "old disk.img").write_bytes(b"content")
    reference = {"source-name": "old disk.img"}
    listed = driver.get_manageable_volumes([], None, 10, 0, ["size"], ["asc"])
    assert [(item["reference"], item["size"], item["safe_to_manage"]) for item in listed] == [(reference, 1, True)]
    assert driver.manage_existing_get_size(volume, reference) == 1
    driver.manage_existing(volume, reference)
    assert (volumes / volume.name).stat().st_size == GIB
    assert read(volumes / volume.name, 0, 7) == b"content"
    listed = driver.get_manageable_volumes([volume], None, 10, 0, ["size"], ["asc"])
    assert [(item["safe_to_manage"], item["cinder_id"]) for item in listed] == [(False, volume.id)]
    driver.unmanage(volume)
    assert (volumes / volume.name).exists()


@pytest.mark.parametrize("name", ["", "../etc/passwd", ".lock", "missing", "link", "directory"])
def test_only_a_file_of_the_pools_directory_can_be_managed(name: str, set_up: Make, volumes: Path) -> None:
    from cinder import exception

    driver = set_up(str(volumes))
    (volumes / "link").symlink_to("/etc/passwd")
    (volumes / "directory").mkdir()
    with pytest.raises(exception.ManageExistingInvalidReference):
        driver.manage_existing_get_size(FakeVolume(), {"source-name": name})


def test_cinders_own_checker_takes_it_for_a_complete_driver(set_up: Make, volumes: Path) -> None:
    from cinder import interface
    from cinder.interface import (
        util,
        volume_driver,
        volume_group_driver,
        volume_manageable_driver,
        volume_snapshot_revert,
    )

    cls = type(set_up(str(volumes)))
    assert cls in interface._volume_register
    info = util.DriverInfo(cls)
    assert info.supported
    assert info.version == cls.VERSION
    assert info.ci_wiki_name
    assert {option.name for option in info.driver_options} == {"loopfile_directories", "loopfile_block_size"}
    for contract in (
        volume_driver.VolumeDriverCore,
        volume_group_driver.VolumeGroupDriver,
        volume_manageable_driver.VolumeManagementDriver,
        volume_snapshot_revert.VolumeSnapshotRevertDriver,
    ):
        assert issubclass(cls, contract), contract
