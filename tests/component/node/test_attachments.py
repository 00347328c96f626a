"""Between two attachments of a node another one may have written: what the node remembers of the first is no truth about the second."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import mounts
from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.connection import Formatting
from tests.component.node.bed import BLOCK, EXT4, MIB, Node, Volume
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.component.node.test_crashes import reboot, run
from tests.support import disks

pytestmark = pytest.mark.root


def again(volume: Volume, name: str) -> Volume:
    """The volume as the controller publishes it later: somebody had it already."""
    return replace(volume, attachment=name, formatting=Formatting.UNKNOWN)


def written_elsewhere(node: Node, volume: Volume) -> None:
    """Another node has the volume, writes a file and gives it back.

    Its file is a copy for that time: on one machine two nodes would share one loop device, and so one view.
    """
    other = Node(node.base / "other")
    copy = replace(again(volume, "of-the-other@1"), file=node.base / "other" / "volume")
    shutil.copyfile(volume.file, copy.file)
    staged = Path(other.stage(copy))
    (staged / "written").write_text("by the other node")
    other.unstage(copy)
    with copy.file.open("rb") as source, volume.file.open("r+b") as target:
        shutil.copyfileobj(source, target, MIB)
        os.fsync(target.fileno())


@pytest.mark.parametrize("fault", ["stage.device-marked", "stage.mkfs-done"])
def test_what_an_interrupted_mkfs_left_is_removed_for_the_same_attachment_only(node: Node, fault: str) -> None:
    assert run(node.base, "stage", "ext4", fault) == -signal.SIGKILL
    reboot(node)
    volume = node.volume()
    written_elsewhere(node, volume)
    staged = Node(node.base).stage(again(volume, "of-this-node@2"))
    assert (Path(staged) / "written").read_text() == "by the other node"


def test_a_mount_of_an_earlier_attachment_is_made_anew(node: Node) -> None:
    """The unstage never came, the volume was elsewhere, and now it is back."""
    volume = node.volume()
    staged = node.stage(volume)
    (Path(staged) / "f").write_text("first")
    disks.sync(staged)
    written_elsewhere(node, volume)
    volume = again(volume, "of-this-node@2")
    node.stage(volume)
    assert (Path(staged) / "written").read_text() == "by the other node"
    assert mounted_below(node.base) == [staged]
    node.stage(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_device_of_an_earlier_attachment_is_connected_anew(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    node.stage(again(volume, "of-this-node@2"), BLOCK)
    assert node.records.find("vol").connection.attachment == "of-this-node@2"  # type: ignore[union-attr] # staged
    assert len(loops_of(node.base)) == 1
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_what_is_published_by_an_earlier_attachment_must_be_unpublished_first(
    node: Node, capability: Capability
) -> None:
    volume = node.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    before = mounted_below(node.base)
    with pytest.raises(PreconditionFailed, match=f"still published at {target} under an earlier attachment"):
        node.stage(again(volume, "of-this-node@2"), capability)
    assert mounted_below(node.base) == before
    node.unpublish(volume)
    node.stage(again(volume, "of-this-node@2"), capability)


def test_a_volume_that_was_staged_before_attachments_had_names_stays_as_it_is(node: Node) -> None:
    volume = replace(node.volume(), attachment="")
    node.stage(volume)
    node.publish(volume)
    before = mounts.table()
    node.stage(volume)
    assert mounts.table() == before


def test_a_new_volume_of_an_old_name_is_formatted_though_the_old_one_was_never_unstaged(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    (Path(staged) / "old").write_text("old")
    volume.file.unlink()
    new = replace(node.volume(), attachment="of-this-node@2")
    node.stage(new)
    assert not (Path(staged) / "old").exists()
    (Path(staged) / "new").write_text("new")
    node.unstage(new)
    node.stage(new)
    assert (Path(staged) / "new").read_text() == "new"


@pytest.mark.parametrize("damage", ["the superblock of what mkfs made here", "that of what was there already"])
def test_never_formatted_is_said_once_however_long_the_attachment_lasts(node: Node, damage: str) -> None:
    volume = node.volume()
    if "already" in damage:
        elsewhere = replace(volume, attachment="of-the-other@1")
        node.stage(elsewhere)
        node.unstage(elsewhere)
    staged = node.stage(volume)
    (Path(staged) / "f").write_text("precious")
    node.unstage(volume)
    with volume.file.open("r+b") as file:
        file.write(bytes(4096))
    before = hashlib.sha256(volume.file.read_bytes()).digest()
    for again_and_again in (node, Node(node.base)):
        with pytest.raises(UnsafeToFormat, match="has had one since it was attached"):
            again_and_again.stage(volume)
    assert hashlib.sha256(volume.file.read_bytes()).digest() == before


@pytest.mark.parametrize("fault", ["stage.device-marked", "stage.format-marked"])
def test_what_was_killed_before_mkfs_ran_is_formatted_by_the_same_attachment(node: Node, fault: str) -> None:
    """Thick volumes of some arrays come with the remains of others, so the controller's word is needed."""
    with node.volume().file.open("r+b") as file:
        file.write(b"remains of another volume" * 4096)
    assert run(node.base, "stage", "ext4", fault) == -signal.SIGKILL
    assert run(node.base, "unstage", "ext4") == 0
    node.stage(node.volume())


def test_a_new_volume_of_an_old_name_may_come_with_remains(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.unstage(volume)
    with volume.file.open("r+b") as file:
        file.write(b"remains of another volume" * 10_000)
    node.stage(replace(volume, attachment="of-this-node@2"))
