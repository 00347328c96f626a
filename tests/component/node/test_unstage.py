"""Unstage where the record, the device or the mount is not as the call expects it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, PreconditionFailed
from csi_cinderlib.host import devices, kernel, mounts
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.stage_record import State
from tests.component.node.bed import BLOCK, EXT4, MIB, SIZE, Node, Volume, WatchedInitiator, mount_capability
from tests.component.node.conftest import assert_nothing_left, mounted_below
from tests.component.node.test_crashes import reboot
from tests.component.node.test_staging import device_of, interrupt_mkfs, record_of

pytestmark = pytest.mark.root
IOC_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: stop the file system as an error does."""


def test_unstage_at_another_path_leaves_the_volume_staged(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    elsewhere = node.base / "elsewhere"
    node.staging.unstage(volume.id, str(elsewhere))
    elsewhere.mkdir()
    mounts.mount("tmpfs", str(elsewhere), "tmpfs")
    with pytest.raises(PreconditionFailed, match="has no stage record of the volume there"):
        node.staging.unstage(volume.id, str(elsewhere))
    assert mounted_below(node.base) == [staged, str(elsewhere)]
    assert record_of(node).state is State.STAGED


def test_unstage_at_another_path_ends_a_stage_that_nothing_shows_any_more(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    reboot(node)
    node.staging.unstage(volume.id, str(node.base / "new-layout"))
    assert_nothing_left(node.base)


def test_unstage_at_another_path_leaves_a_stage_whose_path_is_taken(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    reboot(node)
    mounts.mount("tmpfs", staged, "tmpfs")
    node.staging.unstage(volume.id, str(node.base / "new-layout"))
    assert record_of(node).staging_path == staged


@contextmanager
def mounts_copied(seconds: float) -> Iterator[None]:
    """A container is being started: its mount namespace is a copy of this one, from which it removes what it does not need."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"echo; exec sleep {seconds}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_unstage_waits_for_a_copied_mount_namespace_to_let_go(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CLAIM_SECONDS", 60.0)  # it ends when it gets a CPU
    volume = node.volume()
    node.stage(volume)
    with mounts_copied(0.5):
        node.unstage(volume)
    assert_nothing_left(node.base)


def test_unstage_fails_while_another_mount_namespace_keeps_the_volume_mounted(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "CLAIM_SECONDS", 0.2)
    volume = node.volume()
    node.stage(volume)
    device = device_of(node)
    with mounts_copied(600), pytest.raises(HostError, match="in use: mounted, here or in another mount namespace"):
        node.unstage(volume)
    monkeypatch.setattr(devices, "CLAIM_SECONDS", 60.0)
    assert devices.identity(device.path) == device.wwid
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_unstage_takes_a_path_by_another_spelling(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.staging.unstage(volume.id, str(node.base / "staging") + f"/.//{volume.id}/")
    assert_nothing_left(node.base)


@pytest.fixture
def cramped(node: Node) -> Iterator[Volume]:
    """A volume that cannot store its data, as of an array that is full: its file is in a file system without the room."""
    small = node.base / "small"
    small.mkdir()
    mounts.mount("tmpfs", str(small), "tmpfs", ("size=24m",))
    volume = Volume(id="vol", file=small / "volume")
    volume.file.touch()
    volume.resize(SIZE)
    yield volume
    for path in reversed(mounted_below(node.base)):
        if path != str(small):
            mounts.unmount(path)
    if device := devices.find_attached(str(volume.file)):
        devices.detach_file(device, expected=devices.identity(device), flush=False)
    mounts.unmount(str(small))


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_unstage_reports_data_that_could_not_be_written(node: Node, cramped: Volume, capability: Capability) -> None:
    node.stage(cramped, capability)
    target = Path(node.publish(cramped, capability))
    with (target if capability is BLOCK else target / "f").open("r+b" if capability is BLOCK else "wb") as file:
        file.write(os.urandom(48 * MIB))
    node.unpublish(cramped)
    with pytest.raises(HostError, match="cannot flush" if capability is BLOCK else "cannot sync"):
        node.unstage(cramped)
    assert record_of(node).state is State.STAGED
    assert devices.find_attached(str(cramped.file))


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
@pytest.mark.parametrize("again", [False, True])
def test_a_file_system_that_an_error_stopped_is_unstaged_or_staged_again(node: Node, fs_type: str, again: bool) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    with kernel.opened(staged, os.O_RDONLY) as fd:
        kernel.ioctl(fd, IOC_SHUTDOWN, bytearray(struct.pack("=I", 2)))
    if again:
        node.stage(volume, capability, staged)
        (Path(staged) / "f").write_text("writable")
    node.staging.unstage(volume.id, staged)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("rebooted", [False, True])
def test_unstage_leaves_what_an_interrupted_mkfs_left_to_the_next_stage(node: Node, rebooted: bool) -> None:
    """Without fencing, another node may be creating its file system at that moment."""
    volume, other = interrupt_mkfs(node), node.volume("other")
    there = volume.file.read_bytes()
    if rebooted:
        reboot(node)
        devices.attach_file(str(other.file))  # the name of the device is another one's then
    node.unstage(volume)
    devices.detach_from(str(other.file))
    assert_nothing_left(node.base)
    assert volume.file.read_bytes() == there
    node.stage(replace(volume, attachment="of-the-other@1", formatting=Formatting.UNKNOWN))


def test_unstage_after_an_interrupted_mkfs_ends_without_the_volume(node: Node) -> None:
    volume = interrupt_mkfs(node)
    reboot(node)
    volume.file.rename(node.base / "moved")
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_unstage_after_an_interrupted_mkfs_touches_no_other_device(node: Node, watched: WatchedInitiator) -> None:
    volume = interrupt_mkfs(node)
    known = device_of(node).path
    reboot(node)
    volume.file.rename(node.base / "moved")
    volume.file.write_bytes(b"data of another volume" * MIB)
    node.unstage(volume)
    assert volume.file.read_bytes() == b"data of another volume" * MIB
    assert watched.calls == [f"disconnect {known} by force"]
    assert_nothing_left(node.base)


def test_unstage_after_an_interrupted_mkfs_leaves_another_volume_connected(
    node: Node, watched: WatchedInitiator
) -> None:
    volume = interrupt_mkfs(node)
    earlier = record_of(node)
    reboot(node)
    volume.file.rename(node.base / "moved")
    other = replace(node.volume(), id="other")
    node.stage(other, BLOCK)
    present = record_of(node, "other").device
    assert present
    assert earlier.device
    node.records.save(replace(earlier, device=replace(earlier.device, path=present.path)))
    node.unstage(volume)
    assert watched.calls == []
    node.publish(other, BLOCK)


def test_a_volume_whose_device_is_not_known_is_disconnected_without_force(
    node: Node, watched: WatchedInitiator
) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    node.records.save(replace(record_of(node), device=None, state=State.INTENT))
    node.unstage(volume)
    assert watched.calls == ["disconnect ?"]
    assert_nothing_left(node.base)


def test_a_read_only_device_is_unstaged(node: Node) -> None:
    volume = node.volume(read_only=True)
    node.stage(volume, BLOCK)
    assert devices.is_read_only(device_of(node).path)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_unstage_detaches_the_volumes_own_loop_device_only(node: Node) -> None:
    """Somebody looks at the volume's file through another one."""
    volume = node.volume()
    node.stage(volume, BLOCK)
    argv = ["losetup", "--find", "--show", "--read-only", str(volume.file)]
    other = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        node.unstage(volume)
        assert devices.find_attached(str(volume.file)) == other
    finally:
        devices.detach_from(str(volume.file))
    assert_nothing_left(node.base)
