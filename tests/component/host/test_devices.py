from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, loopctl, mkfs, mounts, shown_files
from tests.support import disks

pytestmark = pytest.mark.root
MIB = 1024 * 1024
Loop = Callable[..., str]


def backing(device: str) -> loopctl.Status:
    fd = os.open(device, os.O_RDONLY)
    try:
        status = loopctl.status(fd)
    finally:
        os.close(fd)
    assert status
    return status


def shows(device: str, file: Path) -> bool:
    shown = shown_files.shown_file(device)
    assert shown
    return shown.is_at(str(file))


def refuses_writes(device: str) -> bool:
    """Older kernels refuse to open it, newer ones to write."""
    try:
        with Path(device).open("r+b", buffering=0) as file:
            file.write(bytes(4096))
    except PermissionError:
        return True
    return False


def test_an_attached_file_is_a_block_device_of_its_size_with_4_kib_blocks(loop: Loop) -> None:
    device = loop(64)
    assert devices.is_block_device(device)
    assert devices.size(device) == 64 * MIB
    assert devices.logical_block_size(device) == 4096


def test_direct_io_is_used_where_the_file_system_has_it(loop: Loop) -> None:
    assert backing(loop(8)).direct_io


def test_without_direct_io_a_file_is_attached_all_the_same(loop: Loop) -> None:
    assert not backing(loop(8, direct_io=False)).direct_io


def test_a_file_system_without_direct_io_is_no_obstacle(target: str) -> None:
    mounts.mount("none", target, "ramfs")
    path = Path(target, "disk.img")
    path.write_bytes(bytes(MIB))
    device = devices.attach_file(str(path))
    assert devices.size(device) == MIB
    devices.detach_file(device, expected=devices.identity(device))


def test_attaching_twice_gives_the_same_device(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    assert devices.attach_file(str(tmp_path / "disk.img")) == device


def test_an_attached_file_is_found_by_its_inode_not_its_name(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    (tmp_path / "disk.img").rename(tmp_path / "renamed.img")
    os.link(tmp_path / "renamed.img", tmp_path / "second.img")
    (tmp_path / "link.img").symlink_to("second.img")
    assert devices.find_attached(str(tmp_path / "renamed.img")) == device
    assert devices.find_attached(str(tmp_path / "second.img")) == device
    assert devices.find_attached(str(tmp_path / "link.img")) == device


def test_another_file_under_the_old_name_is_not_taken_for_it(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    (tmp_path / "disk.img").rename(tmp_path / "old.img")
    other = loop(8)
    assert other != device
    (tmp_path / "old.img").unlink()
    assert devices.find_attached(str(tmp_path / "disk.img")) == other


def test_a_deleted_file_stays_known_by_its_identity_and_is_detached(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    before = devices.identity(device)
    (tmp_path / "disk.img").unlink()
    assert devices.identity(device) == before
    devices.detach_file(device, expected=before)
    assert devices.identity(device) == ""


def test_identity_is_inode_and_name_so_it_outlives_a_reboot(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    expected = f"loop:{(tmp_path / 'disk.img').stat().st_ino}:disk.img"
    assert devices.identity(device) == expected
    devices.detach_file(device, expected=devices.identity(device))
    assert devices.identity(loop(8)) == expected


def test_a_mounted_device_is_not_detached(loop: Loop, target: str) -> None:
    device = loop(64)
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    with pytest.raises(HostError, match="in use"):
        devices.detach_file(device, expected=devices.identity(device))
    assert devices.size(device) == 64 * MIB
    assert not backing(device).autoclear


def test_a_device_that_is_held_open_is_reported_and_can_be_attached_again(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = loop(8)
    monkeypatch.setattr(devices, "DETACH_SECONDS", 0.05)
    fd = os.open(device, os.O_RDONLY)
    try:
        with pytest.raises(HostError, match="another process has it open"):
            devices.detach_file(device, expected=devices.identity(device))
        assert devices.attach_file(str(tmp_path / "disk.img")) == device
    finally:
        os.close(fd)
    assert devices.find_attached(str(tmp_path / "disk.img")) == device


def test_detaching_is_idempotent(loop: Loop) -> None:
    device = loop(8)
    name = devices.identity(device)
    devices.detach_file(device, expected=name)
    devices.detach_file(device, expected=name)
    devices.detach_file("/dev/loop987654", expected=name)
    assert devices.identity(device) != name


def test_detaching_from_a_file_takes_its_own_device_and_no_other(loop: Loop, tmp_path: Path) -> None:
    device, other = loop(8), loop(8, "other.img")
    view = devices.attach_file(device, read_only=True)
    devices.detach_from(device, read_only=True)
    assert devices.find_attached(device) is None
    assert shows(device, tmp_path / "disk.img")
    devices.detach_from(str(tmp_path / "disk.img"), read_only=True)
    assert shows(device, tmp_path / "disk.img"), "it is writable"
    devices.detach_from(str(tmp_path / "disk.img"))
    devices.detach_from(str(tmp_path / "disk.img"))
    assert devices.find_attached(str(tmp_path / "disk.img")) is None
    assert shows(other, tmp_path / "other.img")
    assert view not in (device, other)


def test_detaching_from_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot detach the loop device of .*missing"):
        devices.detach_from(str(tmp_path / "missing"))


def test_detach_ignores_a_device_that_now_has_another_file_even_in_use(loop: Loop, target: str) -> None:
    device = loop(64)
    devices.detach_file(device, expected="loop:1:other.img")
    assert devices.size(device) == 64 * MIB
    mkfs.plan(device, "ext4").carry_out()
    mounts.mount(device, target, "ext4")
    devices.detach_file(device, expected="loop:1:other.img")
    devices.detach_file("/dev/loop987654", expected="loop:1:other.img")
    assert mounts.find(target)


def test_a_grown_file_is_seen_after_a_refresh(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    os.truncate(tmp_path / "disk.img", 16 * MIB)
    assert devices.size(device) == 8 * MIB
    assert devices.refresh_size(device) == 16 * MIB


def test_a_read_only_device_takes_no_writes(loop: Loop) -> None:
    device = loop(8, read_only=True)
    assert devices.is_read_only(device)
    assert refuses_writes(device)


def test_a_file_attached_read_only_is_not_handed_out_as_writable(loop: Loop, tmp_path: Path) -> None:
    loop(8, read_only=True)
    with pytest.raises(HostError, match="attached read-only"):
        devices.attach_file(str(tmp_path / "disk.img"))


def test_a_read_only_view_of_a_device_shows_what_is_written_to_the_device(loop: Loop) -> None:
    device = loop(8)
    view = devices.attach_file(device, read_only=True, direct_io=False)
    try:
        assert view != device
        assert devices.identity(view) == devices.identity(device)
        assert devices.attach_file(device, read_only=True) == view
        Path(device).write_bytes(b"x" * 4096)
        assert Path(view).read_bytes()[:4096] == b"x" * 4096
        assert refuses_writes(view)
    finally:
        devices.detach_from(device, read_only=True)


def test_set_read_only_makes_the_kernel_refuse_writers(loop: Loop) -> None:
    device = loop(8)
    devices.set_read_only(device, True)
    assert refuses_writes(device)
    devices.set_read_only(device, False)
    assert not devices.is_read_only(device)


def test_a_read_only_mark_does_not_meet_the_next_file(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    device = loop(8)
    devices.set_read_only(device, True)
    devices.detach_file(device, expected=devices.identity(device))
    assert not devices.is_read_only(device)
    devices.set_read_only(device, True)
    monkeypatch.setattr(loopctl, "free_number", lambda: int(device.removeprefix("/dev/loop")))
    monkeypatch.setattr(devices, "_ATTEMPTS", 10_000)  # it may be about to be let go
    assert loop(8, "next.img") == device
    assert not refuses_writes(device)


def test_what_is_flushed_is_in_the_file(loop: Loop, tmp_path: Path) -> None:
    device = loop(8)
    with Path(device).open("r+b") as file:
        file.write(b"kept" * 1024)
    devices.flush(device)
    assert (tmp_path / "disk.img").read_bytes()[:4096] == b"kept" * 1024


def test_a_flush_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot flush"):
        devices.flush("/dev/does-not-exist")


@pytest.mark.parametrize("kind", ["empty", "missing", "directory"])
def test_what_cannot_be_attached_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "thing"
    if kind == "empty":
        path.touch()
    if kind == "directory":
        path.mkdir()
    with pytest.raises(HostError, match="thing"):
        devices.attach_file(str(path), read_only=kind == "directory")


def test_a_file_of_odd_size_gets_512_byte_blocks(tmp_path: Path) -> None:
    path = tmp_path / "odd.img"
    path.write_bytes(bytes(MIB + 512))
    device = devices.attach_file(str(path))
    try:
        assert devices.size(device) == MIB + 512
        assert devices.logical_block_size(device) == 512
    finally:
        devices.detach_file(device, expected=devices.identity(device))


def test_the_steps_for_old_kernels_attach_too(tmp_path: Path) -> None:
    path = tmp_path / "old.img"
    path.write_bytes(bytes(MIB))
    device = loopctl.node(loopctl.free_number())
    with path.open("r+b") as file, Path(device).open("r+b", buffering=0) as loop_file:
        loopctl.configure_stepwise(loop_file.fileno(), file.fileno(), str(path), direct_io=True, block_size=4096)
    assert devices.find_attached(str(path)) == device
    assert devices.logical_block_size(device) == 4096
    devices.detach_file(device, expected=devices.identity(device))


def test_a_kernel_without_loop_devices_is_told_from_a_missing_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(MIB))
    monkeypatch.setattr(loopctl, "CONTROL", "/nowhere/loop-control")
    monkeypatch.setattr(loopctl, "MODULE", tmp_path / "absent")
    with pytest.raises(HostError, match="/nowhere/loop-control is missing; load the kernel module: modprobe loop"):
        devices.attach_file(str(tmp_path / "disk.img"))
    monkeypatch.setattr(loopctl, "MODULE", tmp_path)
    with pytest.raises(HostError, match="/nowhere/loop-control is not in /dev of this container"):
        devices.attach_file(str(tmp_path / "disk.img"))


def test_a_regular_file_is_no_block_device(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not devices.is_block_device(str(tmp_path / "file"))
    assert not devices.is_block_device(str(tmp_path / "missing"))
    with pytest.raises(HostError, match="not a block device"):
        devices.size(str(tmp_path / "file"))


def test_a_replaced_file_does_not_match_the_file_of_the_loop_device(loop: Loop, tmp_path: Path) -> None:
    device, file = loop(8), tmp_path / "disk.img"
    assert shows(device, file)
    assert shown_files.shown_file(device).size == 8 * MIB  # type: ignore[union-attr] # it shows a file
    file.unlink()
    assert not shows(device, file)
    file.write_bytes(bytes(8 * MIB))
    assert not shows(device, file)
    with pytest.raises(HostError, match="cannot find the file"):
        shows(device, file / "below")
    with pytest.raises(HostError, match="cannot identify"):
        shows("/dev/loop987654", file)


def test_a_write_that_failed_behind_a_program_is_told(tmp_path: Path) -> None:
    """Its disk is full, and the program ignores what its own flush said."""
    with disks.mounted(tmp_path / "pool", 64) as pool:
        file = pool.path / "volume"
        with file.open("wb") as made:
            made.truncate(32 * MIB)
        device = devices.attach_file(str(file))
        try:
            with devices.written_out(device):
                pass
            pool.fill()
            with (
                pytest.raises(HostError, match=f"cannot write to {device}: Input/output error"),
                devices.written_out(device),
            ):
                tool = ["dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=4", "conv=fsync,notrunc"]
                assert subprocess.run(tool, capture_output=True, check=False).returncode
        finally:
            devices.detach_from(str(file))
