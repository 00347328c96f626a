"""What is mounted where a volume is asked for may be somebody else's: it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.host import mounts
from csi_cinderlib.model.capability import Capability
from tests.component.node.bed import BLOCK, EXT4, Node, mount_capability
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
    with pytest.raises(AlreadyExists, match="something else is mounted there"):
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
    with pytest.raises(AlreadyExists, match="something else is mounted there"):
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
    with pytest.raises(AlreadyExists, match="something else is mounted there"):
        node.stage(first)
    assert mounted_below(node.base) == [path]
    node.staging.unstage("b", path)


def test_a_published_target_is_not_lost_when_its_layer_is_covered(node: Node) -> None:
    """Unstage takes the volume's own layers and leaves what lies on top."""
    volume = node.volume()
    staged = node.stage(volume)
    mounts.mount("tmpfs", staged, "tmpfs")
    with pytest.raises(Exception, match="in use"):
        node.unstage(volume)
    assert [item.fs_type for item in mounts.find_all(staged)] == ["ext4", "tmpfs"]
    mounts.unmount_uppermost(staged)
    node.unstage(volume)
    assert_nothing_left(node.base)
