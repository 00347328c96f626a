"""Publish and unpublish: what is bound, what is refused, and what is left when a step fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import AlreadyExists, DriverError, HostError, InvalidRequest, PreconditionFailed
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.requests import NodePublishVolume
from csi_cinderlib.node.stage_record import StageRecord, State
from tests.component.node.bed import BLOCK, EXT4, SIZE, Node, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.component.node.test_crashes import reboot

pytestmark = pytest.mark.root
SHARED_BLOCK = replace(BLOCK, access_mode=AccessMode.SINGLE_NODE_MULTI_WRITER)


def record_of(node: Node) -> StageRecord:
    record = node.records.find("vol")
    assert record
    return record


def assert_refuses_writes(target: str) -> None:
    with pytest.raises(OSError), Path(target).open("r+b", buffering=0) as device:
        device.write(b"x" * 4096)


@contextmanager
def unbindable(path: str) -> Iterator[None]:
    """Let every bind from this mount fail."""
    mounts.set_propagation(path, "unbindable")
    try:
        yield
    finally:
        mounts.set_propagation(path, "private")


def test_a_readers_access_mode_makes_the_publication_read_only(node: Node) -> None:
    volume, mode = node.volume(), AccessMode.MULTI_NODE_READER_ONLY
    node.stage(volume, replace(BLOCK, access_mode=mode))
    assert_refuses_writes(node.publish(volume, replace(BLOCK, access_mode=mode)))
    other = node.volume("other")
    node.stage(other)
    target = node.publish(other, mount_capability("ext4", mode=mode), node.target("pod2"))
    with pytest.raises(OSError, match="Read-only"):
        (Path(target) / "f").touch()


def test_a_volume_that_is_not_fully_staged_is_not_published(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    record = record_of(node)
    for unfinished in (replace(record, state=State.FORMATTED), replace(record, device=None)):
        node.records.save(unfinished)
        with pytest.raises(PreconditionFailed, match="volume vol is not staged on this node"):
            node.publish(volume)
    node.records.save(record)
    node.publish(volume)


def test_a_volume_whose_device_lost_its_size_is_not_published(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    device = record_of(node).device
    assert device
    volume.resize(0)
    devices.refresh_size(device.path)
    with pytest.raises(PreconditionFailed, match="vol must be staged again: the device"):
        node.publish(volume, BLOCK)
    assert not Path(node.target()).exists()


def test_a_volume_is_published_from_its_own_staging_path_only(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    request = NodePublishVolume(
        volume_id=volume.id, staging_path="/elsewhere", target_path=node.target(), capability=EXT4, read_only=False
    )
    with pytest.raises(PreconditionFailed, match=f"is staged at {staged}, not at /elsewhere"):
        node.publishing.publish(request)
    node.publishing.publish(replace(request, staging_path=f"{staged}/"))


@pytest.mark.parametrize(
    ("staged", "asked", "message"),
    [
        (BLOCK, EXT4, "is staged as a block device but requested as a file system"),
        (EXT4, BLOCK, "is staged as a file system but requested as a block device"),
        (EXT4, mount_capability("xfs"), "has file system 'ext4', but 'xfs' was requested"),
    ],
)
def test_a_volume_is_published_as_it_was_staged(
    node: Node, staged: Capability, asked: Capability, message: str
) -> None:
    volume = node.volume()
    node.stage(volume, staged)
    with pytest.raises(PreconditionFailed, match=message):
        node.publish(volume, asked)
    assert not Path(node.target()).exists()


def test_a_publication_may_leave_the_file_system_open(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.publish(volume, mount_capability(""))


@pytest.mark.parametrize(("capability", "mode"), [(EXT4, 0o750), (BLOCK, 0o600)])
def test_the_target_is_made_with_its_parents_for_its_owner(node: Node, capability: Capability, mode: int) -> None:
    volume = node.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability, str(node.base / "a" / "b" / "target"))
    mounts.unmount(target)
    assert Path(target).stat().st_mode & 0o777 == mode
    node.publish(volume, capability, target)  # found as a crash would leave it
    assert [path for path in mounted_below(node.base) if path == target] == [target]


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_a_target_that_is_a_link_is_refused(node: Node, capability: Capability) -> None:
    volume, target = node.volume(), Path(node.target())
    node.stage(volume, capability)
    destination = node.base / "destination"
    if capability is EXT4:
        destination.mkdir()
    target.symlink_to(destination)
    with pytest.raises(InvalidRequest, match="contain a symbolic link"):
        node.publish(volume, capability)
    assert destination.exists() == (capability is EXT4)
    assert record_of(node).publications == ()


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_a_target_of_the_wrong_kind_is_refused_and_kept(node: Node, capability: Capability) -> None:
    volume, target = node.volume(), Path(node.target())
    node.stage(volume, capability)
    if capability is BLOCK:
        target.mkdir()
    else:
        target.touch()
    with pytest.raises(PreconditionFailed, match="exists and is not an empty"):
        node.publish(volume, capability)
    assert target.exists()
    assert record_of(node).publications == ()


def test_a_bind_that_fails_leaves_no_target(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    with unbindable(staged), pytest.raises(HostError, match="cannot bind-mount"):
        node.publish(volume)
    assert not Path(node.target()).exists()
    assert record_of(node).publications == ()
    node.publish(volume)


def test_a_bind_of_a_device_that_fails_leaves_neither_target_nor_view(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    with unbindable("/dev"), pytest.raises(HostError, match="cannot bind-mount"):
        node.publish(volume, BLOCK, read_only=True)
    assert not Path(node.target()).exists()
    assert len(loops_of(node.base)) == 1
    assert record_of(node).publications == ()


def test_a_read_only_view_stays_while_a_target_shows_it(node: Node) -> None:
    volume, second = node.volume(), node.target("pod2")
    node.stage(volume, SHARED_BLOCK)
    device = record_of(node).device
    assert device
    writable = devices.attach_file(device.path)  # another program's
    first = node.publish(volume, SHARED_BLOCK, read_only=True)
    node.publish(volume, SHARED_BLOCK, second, read_only=True)
    third = node.publish(volume, SHARED_BLOCK, node.target("pod3"))
    assert len(loops_of(node.base)) == 3
    node.unpublish(volume, first)
    assert_refuses_writes(second)
    assert devices.size(second) == SIZE
    node.unpublish(volume, second)
    assert set(loops_of(node.base)) == {device.path, writable}
    with Path(third).open("r+b", buffering=0) as file:
        file.write(b"x" * 4096)


@pytest.mark.parametrize("recorded", [False, True])
def test_unpublish_leaves_a_read_only_device_attached(node: Node, recorded: bool) -> None:
    volume = node.volume(read_only=True)
    node.stage(volume, BLOCK)
    node.publish(volume, BLOCK, read_only=True)
    if not recorded:
        node.records.remove(volume.id)
        node.note(volume)
    node.unpublish(volume)
    assert len(loops_of(node.base)) == 1


def test_unpublish_removes_the_view_of_a_target_that_is_unmounted_already(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    mounts.unmount(node.publish(volume, BLOCK, read_only=True))
    assert len(loops_of(node.base)) == 2
    node.unpublish(volume)
    assert len(loops_of(node.base)) == 1
    assert record_of(node).publications == ()


def test_a_volume_whose_record_cannot_be_read_is_unpublished(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    path = node.records.directory / "vol.json"
    text = path.read_text()
    path.write_text("{")
    node.note(volume)
    node.unpublish(volume)
    assert not Path(target).exists()
    assert mounted_below(node.base) == [staged]
    path.write_text(text)


def test_a_foreign_bound_node_is_not_unmounted(node: Node) -> None:
    volume, target = node.volume(), Path(node.target())
    target.touch()
    mounts.bind("/dev/null", str(target))
    node.note(volume)
    with pytest.raises(PreconditionFailed, match=r"cannot unmount .*: devtmpfs from .* is mounted there"):
        node.unpublish(volume)
    assert target.is_char_device()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_device_is_unpublished_without_a_record(node: Node, read_only: bool) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    node.publish(volume, BLOCK, read_only=read_only)
    record = record_of(node)
    node.records.remove(volume.id)
    node.note(volume)
    node.unpublish(volume)
    assert len(loops_of(node.base)) == 1
    assert mounted_below(node.base) == []
    node.records.save(record)
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_target_that_the_record_does_not_know_is_compared_by_its_mount(node: Node, read_only: bool) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume, read_only=read_only)
    node.records.save(record_of(node).unpublished(target))
    before = mounts.find_all(target)
    node.publish(volume, read_only=read_only)
    assert mounts.find_all(target) == before
    with pytest.raises(AlreadyExists, match="published read-only" if read_only else "published writable"):
        node.publish(volume, read_only=not read_only)


def test_an_access_mode_of_many_nodes_allows_many_targets(node: Node) -> None:
    volume, many = node.volume(), mount_capability("ext4", mode=AccessMode.MULTI_NODE_MULTI_WRITER)
    node.stage(volume, many)
    targets = [node.publish(volume, many, node.target(name)) for name in ("pod1", "pod2")]
    assert [item.target_path for item in record_of(node).publications] == targets
    node.unpublish(volume, targets[0])
    assert [item.target_path for item in record_of(node).publications] == targets[1:]


def test_publications_that_a_reboot_ended_are_forgotten(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.publish(volume)
    reboot(node)
    node.stage(volume)
    target = node.publish(volume, target=node.target("pod2"))
    assert [item.target_path for item in record_of(node).publications] == [target]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_unpublish_keeps_what_no_publish_made(node: Node, kind: str) -> None:
    target = Path(node.target())
    if kind == "file":
        target.write_text("data")
    else:
        target.symlink_to(node.base)
    node.note(node.volume())
    with pytest.raises(DriverError, match=r"not an empty directory or empty file|contain a symbolic link"):
        node.unpublish(node.volume())
    assert target.is_symlink() or target.read_text() == "data"
