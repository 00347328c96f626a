"""A mark on the device says that its content is what an interrupted mkfs left. Whatever uses the device, or contradicts the mark, ends that."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import commands, devices, unfinished
from csi_cinderlib.host.disposable import Disposable
from csi_cinderlib.model.connection import Formatting
from tests.component.node.bed import BLOCK, MIB, SIZE, Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left
from tests.component.node.test_crashes import reboot, run

pytestmark = pytest.mark.root
PLACE = 200 * MIB
DATA = b"data that no table of signatures knows" * 100
FILE_SYSTEMS = ["ext4", "xfs", "btrfs"]


def write(volume: Volume, content: bytes = DATA, at: int = PLACE) -> None:
    with volume.file.open("r+b") as file:
        file.seek(at)
        file.write(content)
        os.fsync(file.fileno())


def read(volume: Volume) -> bytes:
    with volume.file.open("rb") as file:
        return os.pread(file.fileno(), len(DATA), PLACE)


def of_the_other(volume: Volume) -> Volume:
    return replace(volume, attachment="of-the-other@1", formatting=Formatting.UNKNOWN)


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
@pytest.mark.parametrize("step", ["stage", "unstage"])
def test_a_file_system_that_another_node_has_used_is_kept(node: Node, kind: str, step: str) -> None:
    """The back end has no fence, and this node still has the earlier connection."""
    volume = node.volume()
    assert run(node.base, "stage", kind, "stage.mkfs-done") == -signal.SIGKILL
    other = Node(node.base / "other")
    staged = Path(other.stage(of_the_other(volume), mount_capability(kind)))
    (staged / "file").write_text("of the other node")
    other.unstage(of_the_other(volume))
    if step == "unstage":
        node.unstage(volume)
        volume = of_the_other(volume)
    assert (Path(node.stage(volume, mount_capability(kind))) / "file").read_text() == "of the other node"


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_a_whole_file_system_is_used_although_the_node_died(node: Node, kind: str) -> None:
    """It may even be an image with files that another program wrote."""
    assert run(node.base, "stage", kind, "stage.mkfs-done") == -signal.SIGKILL
    write(node.volume())
    node.stage(node.volume(), mount_capability(kind))
    assert read(node.volume()) == DATA


def test_a_damaged_file_system_that_was_never_mounted_is_created_again(node: Node) -> None:
    """At a loss of power, its signature may reach the disk before other blocks."""
    assert run(node.base, "stage", "ext4", "stage.mkfs-done") == -signal.SIGKILL
    write(node.volume(), b"\xa5" * MIB, at=4096)
    (Path(node.stage(node.volume())) / "file").write_text("usable")


def interrupted(node: Node) -> Volume:
    """A volume whose mkfs was about to write when the process was killed, with content that is written afterwards."""
    assert run(node.base, "stage", "ext4", "stage.format-marked") == -signal.SIGKILL
    volume = node.volume()
    write(volume)
    return volume


@pytest.mark.parametrize("rebooted", [False, True])
def test_an_unstage_writes_nothing(node: Node, rebooted: bool) -> None:
    """Another node may have the volume by then."""
    volume = interrupted(node)
    if rebooted:
        reboot(node)
    node.unstage(volume)
    assert read(volume) == DATA


def test_a_raw_use_by_another_node_ends_the_right(node: Node) -> None:
    volume = interrupted(node)
    other = Node(node.base / "other")
    other.stage(of_the_other(volume), BLOCK)
    other.unstage(of_the_other(volume))
    with pytest.raises(UnsafeToFormat):
        node.stage(volume)
    assert read(volume) == DATA


def test_a_reader_leaves_the_mark(node: Node) -> None:
    volume = interrupted(node)
    node.unstage(volume)
    there = volume.file.read_bytes()
    node.stage(replace(volume, attachment="of-this-node@2", read_only=True), BLOCK)
    node.unstage(volume)
    assert volume.file.read_bytes() == there


@pytest.mark.parametrize("content", ["nothing", "xfs"])
def test_a_reader_whose_device_could_be_written_leaves_the_mark(node: Node, content: str) -> None:
    """Disks of an array are often writable for readers as well, and another node may be creating the file system."""
    volume = interrupted(node)
    node.unstage(volume)
    if content == "xfs":
        commands.run(["mkfs.xfs", "-q", str(volume.file)], timeout=60)
    before = volume.file.read_bytes()
    device = devices.attach_file(str(volume.file))
    disk = replace(volume, file=Path(device), attachment="of-this-node@2", read_only=True, size=SIZE)
    with pytest.raises((UnsafeToFormat, PreconditionFailed)):
        node.stage(disk)
    devices.detach_file(device, expected=devices.identity(device))
    assert volume.file.read_bytes() == before


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_a_staged_volume_has_no_mark(node: Node, kind: str) -> None:
    volume = node.volume()
    node.stage(volume, mount_capability(kind))
    assert b"creation not finished" not in volume.file.read_bytes()


OTHER = "of-the-other@1"


def marked_by_the_other(volume: Volume) -> None:
    device = devices.attach_file(str(volume.file))
    unfinished.mark(Disposable(device), "vol", OTHER)
    devices.detach_file(device, expected=devices.identity(device))


def attachment_in_mark(volume: Volume) -> bytes:
    place = unfinished.place(SIZE)
    assert place
    with volume.file.open("rb") as file:
        return os.pread(file.fileno(), unfinished.LENGTH, place).split(b"\n")[3]


def test_a_node_does_not_use_what_another_one_has_begun_to_create_meanwhile(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a fence, a node that was cut off may still be inside mkfs when another one is told to create the file system."""
    volume, another = node.volume(), node.volume("another")
    marked_by_the_other(another)
    place = unfinished.place(SIZE)
    assert place
    block = place // unfinished.LENGTH
    shim = tmp_path / "bin" / "mkfs.ext4"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\nPATH={os.environ["PATH"]}:{commands.SEARCH_PATH}\nmkfs.ext4 "$@" || exit\nfor device; do :; done\n'
        f"exec dd if={another.file} of=$device bs={unfinished.LENGTH} skip={block} seek={block} count=1 conv=notrunc,fsync\n"
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    for _ in range(2):
        with pytest.raises(HostError, match=rf"another node has begun .* meanwhile \(attachment {OTHER}\)"):
            node.stage(volume)
        assert attachment_in_mark(volume) == OTHER.encode()


def test_whoever_begins_again_claims_the_device_before_it_erases_anything(node: Node) -> None:
    marked_by_the_other(node.volume())
    assert run(node.base, "stage", "ext4", "stage.device-recorded") == -signal.SIGKILL
    assert attachment_in_mark(node.volume()) == node.volume().attachment.encode()


def test_what_the_controller_forbids_meanwhile_is_not_done(node: Node) -> None:
    """For example because the volume was attached as a raw device since."""
    volume = interrupted(node)
    for _ in range(2):
        with pytest.raises(UnsafeToFormat, match="the volume must not be formatted"):
            node.stage(replace(volume, formatting=Formatting.FORBIDDEN))
        assert read(volume) == DATA
    node.unstage(volume)
    assert read(volume) == DATA
    assert_nothing_left(node.base)


def test_another_file_system_ends_the_right(node: Node) -> None:
    volume = interrupted(node)
    elsewhere = Node(node.base / "other")
    write(volume, bytes(len(DATA)))
    elsewhere.stage(of_the_other(volume), mount_capability("xfs"))
    elsewhere.unstage(of_the_other(volume))
    with pytest.raises(PreconditionFailed, match="contains file system 'xfs', but 'ext4' was requested"):
        node.stage(volume)
    write(volume, bytes(MIB), at=0)
    write(volume)
    with pytest.raises(UnsafeToFormat):
        node.stage(volume)
    node.unstage(volume)
    assert read(volume) == DATA


def test_a_volume_that_was_staged_as_a_raw_device_is_not_formatted(node: Node) -> None:
    """Although its connection was made for a file system."""
    volume = node.volume()
    node.stage(volume, BLOCK)
    write(volume)
    node.unstage(volume)
    with pytest.raises(UnsafeToFormat):
        node.stage(volume)
    assert read(volume) == DATA


def test_a_missing_mkfs_is_told_before_anything_is_stored(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = node.volume()
    write(volume)
    monkeypatch.setattr(commands, "SEARCH_PATH", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError, match=r"mkfs\.ext4 is not installed on this host"):
        node.stage(volume)
    assert node.records.find(volume.id) is None
    assert read(volume) == DATA
    assert not node.records.formatted.holds(volume.id, volume.attachment)
