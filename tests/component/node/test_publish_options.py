"""Mount options of a publication, and file systems that failed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from csi_cinderlib.errors import AlreadyExists, PreconditionFailed
from csi_cinderlib.host import kernel, mounts
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.pages import ERRORS_PAGE
from tests.component.node.bed import SIZE, Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left
from tests.component.node.test_staging import device_of
from tests.component.node.test_unstage import IOC_SHUTDOWN
from tests.support import disks
from tests.support.repeating import until

pytestmark = pytest.mark.root


@pytest.mark.parametrize("flags", [("ro",), ("noatime,ro",)])
def test_ro_among_the_mount_flags_makes_the_target_read_only(node: Node, flags: tuple[str, ...]) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume, mount_capability("ext4", *flags))
    with pytest.raises(OSError, match="Read-only"):
        (Path(target) / "f").touch()
    with pytest.raises(AlreadyExists, match="published read-only"):
        node.publish(volume)


def test_a_target_has_mount_flags_of_its_own(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, mount_capability("ext4", "nosymfollow"))
    target = node.publish(volume, mount_capability("ext4", "noexec", "nodev"))
    seen, kept = mounts.find(target), mounts.find(staged)
    assert seen
    assert kept
    assert {"noexec", "nodev", "nosymfollow"} <= set(seen.options)
    assert not {"noexec", "nodev"} & set(kept.options)


def test_a_flag_of_the_whole_file_system_must_be_that_of_the_stage(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, mount_capability("ext4", "commit=7"))
    node.publish(volume, mount_capability("ext4", "commit=7"))
    node.unpublish(volume)
    with pytest.raises(PreconditionFailed, match="volume vol is staged without mount options commit=9; "):
        node.publish(volume, mount_capability("ext4", "commit=9"))


def fail(node: Node, volume: Volume) -> None:
    name = Path(device_of(node).path).name
    known = Path(f"/sys/fs/ext4/{name}")
    (known / "trigger_fs_error").write_text("test")
    until(lambda: (known / "errors_count").read_text() != "0\n")  # the kernel counts it in a thread of its own


@pytest.mark.parametrize("flags", [(), ("errors=remount-ro",)])
def test_a_file_system_that_noted_errors_is_not_published_again_until_it_was_checked(
    node: Node, flags: tuple[str, ...]
) -> None:
    volume = node.volume()
    capability = mount_capability("ext4", *flags, mode=AccessMode.SINGLE_NODE_MULTI_WRITER)
    node.stage(volume, capability)
    first = node.publish(volume, capability)
    (Path(first) / "f").write_text("kept")
    disks.sync(first)
    fail(node, volume)
    node.publish(volume, capability, first)  # what is published stays so
    with pytest.raises(
        PreconditionFailed, match=rf"cannot publish .*error.* Delete the pods on this node.*. See {ERRORS_PAGE}"
    ):
        node.publish(volume, capability, node.target("pod2"))
    node.unpublish(volume, first)
    with pytest.raises(PreconditionFailed, match="cannot publish"):
        node.publish(volume, capability, first)
    node.unstage(volume)
    node.stage(volume, capability)
    assert (Path(node.publish(volume, capability, first)) / "f").read_text() == "kept"
    node.unpublish(volume, first)
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_file_system_that_an_error_stopped_is_not_published(node: Node, fs_type: str) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    with kernel.opened(staged, os.O_RDONLY) as fd:
        kernel.ioctl(fd, IOC_SHUTDOWN, bytearray(struct.pack("=I", 2)))
    with pytest.raises(PreconditionFailed, match=r"cannot publish volume vol: .*file system"):
        node.publish(volume, capability)
    node.unstage(volume)
    node.stage(volume, capability)
    node.publish(volume, capability)


def test_a_file_system_with_errors_that_is_staged_read_only_can_be_read(node: Node) -> None:
    volume, reader = node.volume(), mount_capability("ext4", "ro")
    node.stage(volume)
    fail(node, volume)
    node.unstage(volume)
    node.stage(volume, reader)
    fail(node, volume)
    node.publish(volume, reader)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_file_system_that_an_error_stopped_is_not_grown_and_grows_when_it_is_staged_again(
    node: Node, fs_type: str
) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    target = node.publish(volume, capability)
    with kernel.opened(staged, os.O_RDONLY) as fd:
        kernel.ioctl(fd, IOC_SHUTDOWN, bytearray(struct.pack("=I", 2)))
    volume.resize(2 * SIZE)
    with pytest.raises(
        PreconditionFailed, match=rf"cannot grow volume vol: .*unstaged, and checked and grown .* {ERRORS_PAGE}"
    ):
        node.expand(volume, target, required=2 * SIZE)
    node.unpublish(volume, target)
    node.unstage(volume)
    node.stage(volume, capability)
    assert node.stats(volume, node.publish(volume, capability)).usage[0].total > 1.6 * SIZE
