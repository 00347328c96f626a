"""What is mounted where a volume is asked for may be somebody else's: it stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import AlreadyExists, PreconditionFailed
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Connection
from tests.component.node.bed import BLOCK, EXT4, Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left, mounted_below

pytestmark = pytest.mark.root


@pytest.mark.parametrize("fs_type", ["ext4", "btrfs", "block"])
def test_a_target_that_shows_another_volume_is_refused_and_kept(node: Node, fs_type: str) -> None:
    capability = BLOCK if fs_type == "block" else mount_capability(fs_type)
    first, second = node.volume("a"), node.volume("b")
    for volume in (first, second):
        node.stage(volume, capability)
    target = node.publish(first, capability)
    before = mounts.find_all(target)
    with pytest.raises(AlreadyExists, match="another mount is there"):
        node.publish(second, capability)
    node.unpublish(second)  # as the caller does after a failure
    assert mounts.find_all(target) == before
    assert node.records.find("b").publications == ()  # type: ignore[union-attr] # staged above
    node.unpublish(first)
    node.publish(second, capability)
    node.unpublish(second)
    for volume in (first, second):
        node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_target_where_anything_else_is_mounted_is_refused_and_kept(node: Node) -> None:
    volume, target = node.volume(), Path(node.target())
    node.stage(volume)
    target.mkdir()
    mounts.mount("tmpfs", str(target), "tmpfs")
    (target / "f").write_text("kept")
    with pytest.raises(AlreadyExists, match="another mount is there"):
        node.publish(volume)
    assert (target / "f").read_text() == "kept"


def test_a_volume_that_is_staged_where_another_one_was_stays(node: Node) -> None:
    first, second = node.volume("a"), node.volume("b")
    path = node.stage(first)
    mounts.unmount(path)  # by somebody else, behind our back
    node.stage(second, path=path)
    (Path(path) / "f").write_text("kept")
    node.unstage(first)
    assert node.records.find("a") is None
    assert (Path(path) / "f").read_text() == "kept"
    node.staging.unstage("b", path)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_a_volume_is_not_staged_where_a_block_volume_is(node: Node, capability: Capability) -> None:
    first, second = node.volume("a"), node.volume("b")
    path = node.stage(first, BLOCK)
    with pytest.raises(AlreadyExists, match="volume a is staged there"):
        node.stage(second, capability, path)
    node.unstage(first)
    node.stage(second, capability, path)


def test_a_volume_is_not_staged_over_another_one(node: Node) -> None:
    first, second = node.volume("a"), node.volume("b")
    path = node.stage(first)
    mounts.unmount(path)
    node.stage(second, path=path)
    with pytest.raises(AlreadyExists, match="another mount is there"):
        node.stage(first)
    assert mounted_below(node.base) == [path]
    node.staging.unstage("b", path)


@dataclass
class Disk(Volume):
    """A volume whose disk the kernel lets go although it is mounted, as SCSI disks are."""

    path: str = ""

    @property
    def connection(self) -> Connection:
        return replace(super().connection, data={"device_path": self.path})


@pytest.fixture
def disk(node: Node) -> Iterator[Disk]:
    file = node.volume().file
    yield Disk(id="vol", file=file, path=devices.attach_file(str(file)))
    for path in reversed(mounted_below(node.base)):
        mounts.unmount(path)
    devices.detach_from(str(file))


@pytest.mark.parametrize("covered", ["staging path", "target"])
@pytest.mark.parametrize("kind", ["file", "disk"])
def test_a_volume_is_not_disconnected_while_it_is_mounted_below_something_else(
    node: Node, disk: Disk, kind: str, covered: str
) -> None:
    """What the file system has not written yet would be lost with the disk."""
    volume = disk if kind == "disk" else node.volume("file")
    staged = node.stage(volume)
    path = staged if covered == "staging path" else node.publish(volume)
    (Path(path) / "f").write_text("not written out yet")
    mounts.mount("tmpfs", path, "tmpfs")
    with pytest.raises(PreconditionFailed, match=f"volume {volume.id} is still mounted at {path}, below tmpfs"):
        node.unstage(volume)
    assert [item.fs_type for item in mounts.find_all(path)] == ["ext4", "tmpfs"]
    assert node.records.find(volume.id)
    mounts.unmount_uppermost(path)
    assert (Path(path) / "f").read_text() == "not written out yet"
    if covered == "target":
        node.unpublish(volume)
    node.unstage(volume)
    assert (node.records.find(volume.id), mounted_below(node.base)) == (None, [])


def test_a_broken_stage_is_not_made_anew_while_it_is_mounted_below_something_else(node: Node, disk: Disk) -> None:
    staged = node.stage(disk)
    mounts.mount("tmpfs", staged, "tmpfs")
    with pytest.raises(PreconditionFailed, match=f"volume vol is still mounted at {staged}, below tmpfs"):
        node.stage(disk)
    assert [item.fs_type for item in mounts.find_all(staged)] == ["ext4", "tmpfs"]
