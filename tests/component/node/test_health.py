"""What counts as a fault of a device, of a mount or of a read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick.device import Device
from csi_cinderlib.host import commands, devices, identities, mkfs, mounts
from csi_cinderlib.host.mounttable import parse_line
from csi_cinderlib.node import health


def test_a_device_that_is_not_there_is_reported(tmp_path: Path) -> None:
    assert "gone" in health.device_problem(Device(path=str(tmp_path / "absent"), wwid="x"))
    assert "No such file" in health.read_problem(str(tmp_path / "absent"))


def test_a_file_that_answers_is_fine(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(8192))
    assert health.read_problem(str(tmp_path / "f")) == ""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """A file on a loop device."""
    file = tmp_path / "volume"
    with file.open("wb") as created:
        created.truncate(64 << 20)
    loop = devices.attach_file(str(file))
    name = devices.identity(loop)
    yield Device(path=loop, wwid=name, file=str(file))
    for item in reversed(mounts.by_device(loop)):
        mounts.unmount(item.target)
    devices.detach_file(loop, expected=devices.identity(loop))


@pytest.mark.root
def test_a_device_that_works_has_no_problem(device: Device) -> None:
    assert health.lost(device) == ""
    assert health.device_problem(device) == ""
    assert health.replaced(device) == ""
    assert health.lost(replace(device, file="")) == ""


@pytest.mark.root
def test_a_device_of_another_name_is_lost(device: Device) -> None:
    for name in ("other", ""):
        assert f"identifies as {device.wwid}, expected {name or 'unknown'}" in health.lost(replace(device, wwid=name))
        assert "identifies as" in health.device_problem(replace(device, wwid=name))


@pytest.mark.root
def test_a_device_without_a_size_is_lost(device: Device, tmp_path: Path) -> None:
    os.truncate(tmp_path / "volume", 0)
    devices.refresh_size(device.path)
    assert health.lost(device) == f"the device {device.path} has a size of 0"
    os.truncate(tmp_path / "volume", 64 << 20)
    devices.refresh_size(device.path)


@pytest.mark.root
def test_a_device_whose_file_was_replaced_is_lost(device: Device, tmp_path: Path) -> None:
    (tmp_path / "volume").rename(tmp_path / "moved")
    (tmp_path / "volume").touch()
    moved = replace(device, wwid=devices.identity(device.path))
    assert health.lost(moved) == f"{device.file} was removed or replaced by another file"


@pytest.mark.root
def test_a_map_without_paths_is_lost(device: Device) -> None:
    assert health.lost(replace(device, multipath=True)) == f"{device.path} has no paths left"
    assert health.device_problem(replace(device, multipath=True)) == f"{device.path} has no paths left"


@pytest.mark.root
def test_a_read_asks_the_device_and_not_the_cache(device: Device, tmp_path: Path) -> None:
    with Path(device.path).open("rb", buffering=0) as cached:
        assert cached.read(8192) == bytes(8192)
        os.truncate(tmp_path / "volume", 0)
        assert health.read_problem(device.path) == f"cannot read {device.path}: Input/output error"
    os.truncate(tmp_path / "volume", 64 << 20)


def write(base: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(content)


@pytest.fixture
def sysfs(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the device's directory in /sys, where a loop device has no paths."""
    number = Path(device.path).stat().st_rdev
    directory = tmp_path / "sys" / "sdx"
    directory.mkdir(parents=True)
    (tmp_path / "sys" / f"{os.major(number)}:{os.minor(number)}").symlink_to(directory.name)
    monkeypatch.setattr(identities, "SYSFS", directory.parent)
    return directory


@pytest.mark.root
@pytest.mark.parametrize(
    ("state", "works", "lost"),
    [
        ("running", True, False),
        ("blocked", False, False),
        ("quiesce", False, False),
        ("created", False, False),
        ("created-blocked", False, False),
        ("offline", False, True),
        ("transport-offline", False, True),
    ],
)
def test_a_disk_that_the_kernel_waits_for_does_not_work_and_is_not_lost(
    device: Device, sysfs: Path, state: str, works: bool, lost: bool
) -> None:
    write(sysfs, {"device/scsi_disk/x": "", "device/state": f"{state}\n", "device/wwid": device.wwid})
    device = replace(device, file="")  # a disk
    problem = f"{device.path} has no working path: {sysfs.name} {state}"
    assert health.device_problem(device) == ("" if works else problem)
    assert health.lost(device) == (problem if lost else "")


@pytest.mark.root
@pytest.mark.parametrize(("second", "lost"), [("running", False), ("blocked", False), ("offline", True)])
def test_a_map_works_as_long_as_one_path_does(device: Device, sysfs: Path, second: str, lost: bool) -> None:
    write(sysfs, {"dm/uuid": f"mpath-{device.wwid}"})
    for name, state in (("sda", "offline"), ("sdb", second)):
        write(sysfs.parent / name, {"device/scsi_disk/x": "", "device/state": state})
        (sysfs / "slaves").mkdir(exist_ok=True)
        (sysfs / "slaves" / name).symlink_to(sysfs.parent / name)
    device = replace(device, file="")  # a disk
    problem = f"{device.path} has no working path: sda offline, sdb {second}"
    assert health.lost(replace(device, multipath=True)) == (problem if lost else "")
    assert health.device_problem(device) == ("" if second == "running" else problem)


def test_a_device_that_cannot_be_asked_is_a_problem() -> None:
    assert "paths of /dev/missing" in health.replaced(Device(path="/dev/missing", wwid=""))


@pytest.mark.root
def test_a_device_that_the_kernel_does_not_know_is_lost(tmp_path: Path) -> None:
    node = str(tmp_path / "node")
    os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(7, 987654))
    assert health.lost(Device(path=node, wwid="")) == f"cannot identify {node}: No such file or directory"


def test_what_is_no_block_device_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert health.lost(Device(path=str(tmp_path / "file"), wwid="")) == f"the device {tmp_path / 'file'} is gone"
    assert not health.devices_exists(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize(
    ("target", "options", "read_only", "problem"),
    [
        ("/", "rw", False, ""),
        ("/", "ro", True, ""),
        ("/", "ro", False, "the file system became read-only after an error"),
        ("/", "rw,emergency_ro", False, "the file system has stopped after an error (state: emergency_ro)"),
        ("/", "rw,shutdown", True, "the file system has stopped after an error (state: shutdown)"),
        ("/missing", "rw", False, "cannot read the file system: No such file or directory"),
        ("/proc/version", "rw", False, "cannot read the file system: Not a directory"),
    ],
)
def test_a_mount_works_as_long_as_it_answers_as_it_was_made(
    target: str, options: str, read_only: bool, problem: str
) -> None:
    mount = parse_line(f"36 35 7:0 / {target} rw - ext4 /dev/loop0 {options}")
    assert health.mount_problem(mount, read_only=read_only) == problem


@pytest.mark.root
@pytest.mark.parametrize("count", [0, 3])
def test_errors_that_ext4_noted_are_counted(device: Device, tmp_path: Path, count: int) -> None:
    mkfs.plan(device.path, "ext4").carry_out()
    commands.run(["debugfs", "-w", "-R", f"ssv error_count {count}", device.path], timeout=60)
    devices.flush(device.path)
    (tmp_path / "target").mkdir()
    mounts.mount(device.path, str(tmp_path / "target"), "ext4")
    noted = f"the file system has recorded {count} errors and must be checked by e2fsck" if count else ""
    assert health.errors_noted(device.path) == noted


def test_no_notes_of_errors_are_no_problem(tmp_path: Path) -> None:
    assert health.errors_noted(str(tmp_path / "absent")) == ""
