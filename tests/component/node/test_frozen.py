"""A pod that froze its file system and died: the volume leaves the node all the same."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import filesystems, kernel, mounts
from tests.component.node.bed import Node, mount_capability
from tests.component.node.conftest import assert_nothing_left

pytestmark = pytest.mark.root
FIFREEZE = 0xC0045877


def freeze(path: str) -> None:
    with kernel.opened(path, os.O_RDONLY) as fd:
        kernel.ioctl(fd, FIFREEZE)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_file_system_that_was_left_frozen_is_unpublished_unstaged_and_staged_again(node: Node, fs_type: str) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    (Path(target) / "f").write_text("kept")
    freeze(target)
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    assert (Path(target) / "f").read_text() == "kept"
    (Path(target) / "g").write_text("writable")
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_thawing_says_whether_it_was_frozen(node: Node) -> None:
    staged = node.stage(node.volume())
    assert not filesystems.thaw(staged)
    freeze(staged)
    assert filesystems.thaw(staged)
    (Path(staged) / "f").write_text("writable")


def test_what_cannot_be_frozen_is_not(node: Node, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    mounts.mount("tmpfs", str(tmp_path / "t"), "tmpfs")
    assert not filesystems.thaw(str(tmp_path / "t"))
    with pytest.raises(HostError, match=os.strerror(errno.ENOENT)):
        filesystems.thaw(str(tmp_path / "missing"))
