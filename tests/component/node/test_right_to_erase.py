"""An interrupted mkfs gives the right to erase its remains. Whatever shows that the content is not of mkfs ends that right."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import commands
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node.stage_record import State
from tests.component.node.bed import BLOCK, MIB, Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left
from tests.component.node.test_crashes import run

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
def test_a_file_system_that_was_never_mounted_is_created_again(node: Node, kind: str) -> None:
    """It may be damaged: at a loss of power, its signature may reach the disk before other blocks."""
    assert run(node.base, "stage", kind, "stage.mkfs-done") == -signal.SIGKILL
    write(node.volume())
    node.stage(node.volume(), mount_capability(kind))
    assert read(node.volume()) == bytes(len(DATA))


def interrupted(node: Node) -> Volume:
    """A volume whose mkfs was about to write when the process was killed, with content that is written afterwards."""
    assert run(node.base, "stage", "ext4", "stage.format-marked") == -signal.SIGKILL
    volume = node.volume()
    write(volume)
    return volume


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
    record = node.records.find(volume.id)
    assert record
    assert record.state is State.FORMATTED
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
