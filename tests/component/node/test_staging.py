"""Stage where the record, the device or the mount is not as the call expects it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick import ANYWHERE, Initiator
from csi_cinderlib.brick.device import Device
from csi_cinderlib.errors import AlreadyExists, HostError, InvalidRequest
from csi_cinderlib.host import devices, disposable, filesystems, identities, kernel, mounts, unfinished
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.requests import StageVolume
from csi_cinderlib.node.stage_record import StageRecord, State
from csi_cinderlib.node.staging import Staging
from tests.component.node.bed import BLOCK, EXT4, SIZE, Node, Volume, WatchedInitiator, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.component.node.test_crashes import reboot

pytestmark = pytest.mark.root
XFS = mount_capability("xfs")


def record_of(node: Node, volume_id: str = "vol") -> StageRecord:
    record = node.records.find(volume_id)
    assert record
    return record


def device_of(node: Node) -> Device:
    device = record_of(node).device
    assert device
    return device


def mount_at(path: str) -> mounts.Mount:
    found = mounts.find(path)
    assert found
    return found


def test_a_file_system_that_could_not_be_mounted_is_not_made_again_by_the_next_process(node: Node) -> None:
    volume = node.volume()
    with pytest.raises(InvalidRequest, match="unsupported mount options for ext4: bogus"):
        node.stage(volume, mount_capability("ext4", "bogus"))
    made = filesystems.probe(devices.attach_file(str(volume.file)))
    assert made
    again = Node(node.base)
    again.stage(volume)
    found = filesystems.probe(device_of(again).path)  # another device, perhaps: the first may be about to be let go
    assert found
    assert found.uuid == made.uuid


def set_read_only(path: str) -> None:
    """As ext4 does by itself after an error."""
    subprocess.run(["mount", "-o", "remount,ro", path], check=True)


def interrupt_mkfs(node: Node) -> Volume:
    """What a node finds that was killed while mkfs ran."""
    volume = node.volume()
    mounts.unmount(node.stage(volume))
    device = device_of(node).path
    with Path(device).open("r+b") as file:
        file.write(bytes(4096))  # mke2fs writes the superblock last
        os.fsync(file.fileno())
    unfinished.mark(disposable.Disposable(device), volume.id, volume.attachment)
    node.records.save(replace(record_of(node), state=State.CONNECTED))
    return volume


def test_stage_needs_the_connection_of_its_own_volume(node: Node) -> None:
    volume, other = node.volume(), node.volume("other")
    for context in ({}, {"connection": ""}, {"connection": node.sealer.seal(other.connection.to_bytes())}):
        request = StageVolume(
            volume_id=volume.id, staging_path=node.staging_path(volume), capability=EXT4, publish_context=context
        )
        with pytest.raises(InvalidRequest, match="publish_context"):
            node.staging.stage(request)
    assert_nothing_left(node.base)


def test_stage_makes_the_staging_path_with_its_parents(node: Node) -> None:
    path = str(node.base / "globalmount" / "of" / "volume")
    node.stage(node.volume(), path=path)
    assert mounted_below(node.base) == [path]


def test_stage_mounts_again_what_an_error_made_read_only(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    set_read_only(staged)
    node.stage(volume)
    (Path(staged) / "f").write_text("writable")
    assert mounted_below(node.base) == [staged]
    assert len(loops_of(node.base)) == 1


def test_stage_does_not_take_a_broken_mount_from_its_users(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    set_read_only(staged)
    before = (mounts.table(), loops_of(node.base), record_of(node))
    with pytest.raises(HostError, match=f"does not work and is still published at {target}"):
        node.stage(volume)
    assert (mounts.table(), loops_of(node.base), record_of(node)) == before


def test_a_read_only_stage_again_changes_nothing(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.unstage(volume)
    reader = mount_capability("ext4", mode=AccessMode.MULTI_NODE_READER_ONLY)
    staged = node.stage(volume, reader)
    before = mount_at(staged)
    node.stage(volume, reader)
    assert mount_at(staged) == before


def test_a_block_volume_that_is_staged_stays_connected(node: Node, watched: WatchedInitiator) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    before = record_of(node)
    node.stage(volume, BLOCK)
    node.publish(volume, BLOCK)
    node.stage(volume, BLOCK)
    assert watched.calls == []
    assert record_of(node).device == before.device


def test_a_block_volume_that_was_only_connected_is_connected_again(node: Node, watched: WatchedInitiator) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    node.records.save(replace(record_of(node), state=State.CONNECTED))
    node.stage(volume, BLOCK)
    assert len(watched.calls) == 1
    assert record_of(node).state is State.STAGED


def test_stage_completes_what_was_mounted_before_a_crash(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, XFS)
    node.records.save(replace(record_of(node), state=State.FORMATTED))
    before = mount_at(staged)
    volume.resize(2 * SIZE)
    devices.refresh_size(device_of(node).path)
    node.stage(volume, XFS)
    assert record_of(node).state is State.STAGED
    assert mount_at(staged) == before
    assert node.stats(volume, staged).usage[0].total > 1.6 * SIZE


def test_stage_mounts_nothing_when_the_file_system_cannot_grow(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = node.volume()
    node.stage(volume, XFS)
    node.unstage(volume)
    volume.resize(2 * SIZE)
    failing = node.base / "bin" / "xfs_growfs"
    failing.parent.mkdir()
    failing.write_text("#!/bin/sh\nexit 1\n")
    failing.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{failing.parent}:{os.environ['PATH']}")
        with pytest.raises(HostError, match="xfs_growfs"):
            node.stage(volume, XFS)
    assert mounted_below(node.base) == []
    assert loops_of(node.base) == []
    staged = node.stage(volume, XFS)
    assert node.stats(volume, staged).usage[0].total > 1.6 * SIZE


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_stage_makes_a_device_show_the_volumes_size(node: Node, capability: Capability) -> None:
    """Another program attached the file before it grew."""
    volume = node.volume()
    loop = devices.attach_file(str(volume.file))
    volume.resize(2 * SIZE)
    assert devices.size(loop) == SIZE
    staged = node.stage(volume, capability)
    assert devices.size(device_of(node).path) == 2 * SIZE
    assert node.stats(volume, staged if capability is EXT4 else node.publish(volume, BLOCK)).usage[0].total > 1.6 * SIZE


def test_a_stage_that_fails_keeps_what_is_published(node: Node, watched: WatchedInitiator) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    mounts.unmount(staged)
    mounts.mount("tmpfs", staged, "tmpfs")
    with pytest.raises(AlreadyExists, match="another mount is there"):
        node.stage(volume)
    assert set(mounted_below(node.base)) == {staged, target}
    assert record_of(node).publication(target)
    assert watched.calls == []
    mounts.unmount(staged)
    node.stage(volume)
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_stage_that_fails_keeps_the_record_of_an_earlier_one(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    reboot(node)
    mounts.mount("tmpfs", staged, "tmpfs")
    with pytest.raises(AlreadyExists, match="another mount is there"):
        node.stage(volume)
    assert loops_of(node.base) == []
    assert record_of(node).state is State.STAGED


def test_a_volume_that_cannot_be_connected_leaves_no_record(node: Node) -> None:
    volume = node.volume()
    volume.resize(0)
    with pytest.raises(HostError, match="too small for a block device"):
        node.stage(volume)
    assert_nothing_left(node.base)


class UnreachableInitiator(Initiator):
    """Of a node without a network."""

    def connect(self, connection: Connection) -> Device:
        raise HostError(f"connecting {connection.volume_id}: no route")

    def disconnect(
        self,
        connection: Connection,
        device: Device | None = None,
        *,
        force: bool = False,
        ignore_errors: bool | None = None,
    ) -> None:
        raise HostError(f"disconnecting {connection.volume_id}: no route")


def test_a_volume_that_may_be_connected_has_a_record(node: Node) -> None:
    unreachable = UnreachableInitiator(node.base / "state", allowed=ANYWHERE)
    node.staging = Staging(node.records, unreachable, node.sealer, node.locks)
    with pytest.raises(HostError, match="connecting vol: no route"):
        node.stage(node.volume())
    assert record_of(node).state is State.INTENT


def test_a_mkfs_that_fails_leaves_no_trace(node: Node, watched: WatchedInitiator) -> None:
    with pytest.raises(HostError, match=r"mkfs\.ext4"):
        node.stage(node.volume(mkfs_options=("-b", "3000")))
    assert [call.startswith("disconnect /dev/loop") for call in watched.calls] == [True]
    assert_nothing_left(node.base)
    node.stage(node.volume())


def test_a_mkfs_that_fails_after_an_interrupted_one_can_be_repeated(node: Node) -> None:
    volume = interrupt_mkfs(node)
    volume.mkfs_options = ("-b", "3000")
    with pytest.raises(HostError, match=r"mkfs\.ext4"):
        node.stage(volume)
    assert loops_of(node.base) == []
    node.stage(replace(volume, mkfs_options=(), formatting=Formatting.UNKNOWN))


def test_a_stage_that_cannot_be_undone_reports_why_it_failed(node: Node) -> None:
    volume = node.volume()
    loop = devices.attach_file(str(volume.file))
    with kernel.opened(loop, os.O_RDONLY | os.O_EXCL), pytest.raises(HostError, match=f"cannot mark {loop}"):
        node.stage(volume)
    node.stage(volume)


def take_size(volume: Volume, device: str) -> None:
    """As a back end does that deletes a volume which is attached."""
    volume.resize(0)
    devices.refresh_size(device)


def test_a_dead_device_is_given_up_before_it_is_replaced(node: Node, watched: WatchedInitiator) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    loop = device_of(node).path
    take_size(volume, loop)
    with pytest.raises(HostError, match="too small for a block device"):
        node.stage(volume, BLOCK)
    assert watched.calls[:2] == [f"give up {loop}", f"disconnect {loop} by force"]


def test_a_dead_device_is_given_up_before_it_is_unstaged(node: Node, watched: WatchedInitiator) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    loop = device_of(node).path
    take_size(volume, loop)
    node.unstage(volume)
    assert watched.calls == [f"give up {loop}", f"disconnect {loop} by force"]
    assert_nothing_left(node.base)


@pytest.mark.parametrize("again", [False, True])
def test_after_a_reboot_nothing_is_given_up(node: Node, watched: WatchedInitiator, again: bool) -> None:
    """The name of the device may be another volume's by now."""
    volume = node.volume()
    node.stage(volume)
    loop = device_of(node).path
    reboot(node)
    (node.stage if again else node.unstage)(volume)
    assert watched.calls == [f"disconnect {loop} by force"]


def unstage(node: Node, volume: Volume) -> None:
    node.unstage(volume)


def stage_again(node: Node, volume: Volume) -> None:
    with pytest.raises(HostError, match="belongs to volume other, which is staged here; it was not touched"):
        node.stage(volume, BLOCK)


def stage_anew(node: Node, volume: Volume) -> None:
    stage_again(node, replace(volume, attachment="of-this-node@2"))


@pytest.mark.parametrize("call", [unstage, stage_again, stage_anew])
def test_a_device_that_now_belongs_to_another_volume_stays_connected(
    node: Node, watched: WatchedInitiator, call: Callable[[Node, Volume], None]
) -> None:
    """The back end gave the address to another volume, which is staged here, before this one was unstaged."""
    volume = node.volume()
    node.stage(volume, BLOCK)
    earlier = record_of(node)
    reboot(node)
    volume.file.rename(node.base / "moved")
    other = replace(node.volume(), id="other")
    node.stage(other, BLOCK)
    present = record_of(node, "other").device
    assert present
    assert earlier.device
    node.records.save(replace(earlier, device=replace(earlier.device, path=present.path)))
    call(node, volume)
    assert watched.calls == []
    assert loops_of(node.base) == [present.path]
    node.publish(other, BLOCK)


def test_a_device_that_works_is_disconnected_without_force(node: Node, watched: WatchedInitiator) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    first = device_of(node).path
    mounts.unmount(staged)
    node.stage(volume)
    second = device_of(node).path
    node.unstage(volume)
    assert watched.calls == [f"disconnect {first}", f"disconnect {second}"]


@pytest.mark.parametrize("rebooted", [False, True])
def test_the_device_of_an_earlier_attachment_is_given_up(node: Node, watched: WatchedInitiator, rebooted: bool) -> None:
    volume = node.volume()
    node.stage(volume)
    loop = device_of(node).path
    if rebooted:
        reboot(node)
    node.stage(replace(volume, attachment="of-this-node@2"))
    given_up = [] if rebooted else [f"give up {loop}"]  # after a reboot, that name may be another volume's
    assert watched.calls == [*given_up, f"disconnect {loop} by force"]


def test_the_disk_of_an_earlier_attachment_takes_no_writes_any_more(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel still holds for it must not reach a volume that another node had meanwhile."""
    volume = node.volume()
    node.stage(volume, BLOCK)
    device = device_of(node)
    number = Path(device.path).stat().st_rdev
    disk = node.base / "sys" / "sdx"
    (disk / "device" / "scsi_disk").mkdir(parents=True)
    (disk.parent / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk.name)
    for file, content in (("device/state", "running\n"), ("device/wwid", device.wwid), ("ro", "0\n")):
        (disk / file).write_text(content)
    monkeypatch.setattr(identities, "SYSFS", disk.parent)
    with contextlib.suppress(HostError):  # it may get a loop device that is not in this /sys
        node.stage(replace(volume, attachment="of-this-node@2"), BLOCK)
    assert (disk / "device" / "state").read_text() == "offline\n"
