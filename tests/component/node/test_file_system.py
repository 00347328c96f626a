"""The file system of a staged volume: found or made, checked, mounted, grown, and cleared when mkfs did not end."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.errors import HostError, InvalidRequest, PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import commands, devices, filesystems, kernel, mounts
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.connection import Formatting
from csi_cinderlib.node import file_system
from csi_cinderlib.node.stage_record import StageRecord, State
from tests.component.node.bed import BLOCK, EXT4, MIB, SIZE, Node, Volume, mount_capability
from tests.component.node.conftest import mounted_below
from tests.component.node.test_crashes import run

pytestmark = pytest.mark.root
READER = AccessMode.MULTI_NODE_READER_ONLY


def prepared(node: Node, fs_type: str = "ext4") -> Volume:
    """A volume that has a file system and is not staged."""
    volume = node.volume()
    node.stage(volume, mount_capability(fs_type))
    node.unstage(volume)
    return volume


def record_of(node: Node) -> StageRecord:
    record = node.records.find("vol")
    assert record
    return record


def total(node: Node, volume: Volume) -> int:
    return node.stats(volume, node.staging_path(volume)).usage[0].total


@pytest.mark.parametrize(
    ("capability", "read_only", "expected"),
    [
        (EXT4, False, False),
        (BLOCK, False, False),
        (mount_capability("ext4", "noatime", "errors=remount-ro"), False, False),
        (mount_capability("ext4", "noatime,ro"), False, True),
        (mount_capability("ext4", "noatime", "ro"), False, True),
        (mount_capability("ext4", mode=READER), False, True),
        (EXT4, True, True),
    ],
)
def test_a_volume_is_read_only_by_its_attachment_its_mode_or_a_flag(
    node: Node, capability: Capability, read_only: bool, expected: bool
) -> None:
    volume = node.volume(read_only=read_only)
    record = StageRecord(volume_id="vol", staging_path="/staging", capability=capability, connection=volume.connection)
    assert file_system.is_read_only(record) is expected


@pytest.mark.parametrize("capability", [mount_capability("ext4", mode=READER), mount_capability("ext4", "ro")])
def test_a_read_only_stage_is_mounted_read_only_and_not_grown(node: Node, capability: Capability) -> None:
    volume = prepared(node)
    volume.resize(2 * SIZE)
    staged = node.stage(volume, capability)
    with pytest.raises(OSError, match="Read-only"):
        (Path(staged) / "f").touch()
    assert total(node, volume) < 1.2 * SIZE


def test_a_read_only_xfs_is_not_grown(node: Node) -> None:
    volume = prepared(node, "xfs")
    volume.resize(2 * SIZE)
    node.stage(volume, mount_capability("xfs", mode=READER))
    assert total(node, volume) < 1.2 * SIZE


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_read_only_attachment_is_mounted_unchanged(node: Node, fs_type: str) -> None:
    volume = prepared(node, fs_type)
    volume.resize(2 * SIZE)
    before = volume.file.read_bytes()
    volume.read_only = True
    capability = mount_capability(fs_type)
    node.stage(volume, capability)
    node.stage(volume, capability)
    node.unstage(volume)
    assert volume.file.read_bytes() == before


def test_a_read_only_attachment_is_never_formatted(node: Node) -> None:
    volume = node.volume(read_only=True)
    with pytest.raises(UnsafeToFormat, match="the volume must not be formatted"):
        node.stage(volume)
    assert not volume.file.read_bytes().strip(b"\0")


def test_a_mark_allows_nothing_that_the_controller_forbids(node: Node) -> None:
    volume = node.volume(formatting=Formatting.FORBIDDEN)
    node.records.formatted.set(volume.id, volume.attachment)
    with pytest.raises(UnsafeToFormat, match="the volume must not be formatted"):
        node.stage(volume)


def edit(volume: Volume, request: str) -> None:
    commands.run(["debugfs", "-w", "-R", request, str(volume.file)], timeout=60)


def test_a_journal_is_not_replayed_on_a_device_that_takes_no_writes(node: Node) -> None:
    volume = prepared(node)
    edit(volume, "feature needs_recovery")
    volume.read_only = True
    before = volume.file.read_bytes()
    with pytest.raises(PreconditionFailed, match="not unmounted cleanly"):
        node.stage(volume)
    assert mounted_below(node.base) == []
    assert volume.file.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_system_with_noted_errors_is_checked_before_it_is_mounted(node: Node, read_only: bool) -> None:
    volume = prepared(node)
    edit(volume, "ssv state 2")
    volume.read_only = read_only
    node.stage(volume)
    node.unstage(volume)
    loop = devices.attach_file(str(volume.file))
    found = filesystems.probe(loop)
    devices.detach_from(str(volume.file))
    assert found
    assert found.dirty is read_only, "a device that takes no writes is left as it is"


@pytest.mark.parametrize("request_in_superblock", ["ssv errors 3", "ssv mount_opts errors=panic", "ssv errors 2"])
def test_no_file_system_stops_the_machine_by_its_own_wish(node: Node, request_in_superblock: str) -> None:
    """An array, or a tenant who wrote its volume raw, may ask for a panic of the kernel at the first error."""
    volume = prepared(node)
    edit(volume, request_in_superblock)
    staged = node.stage(volume)
    here = mounts.find(staged)
    assert here
    assert "errors=panic" not in here.super_options
    assert (
        "errors=remount-ro" in here.super_options or request_in_superblock == "ssv errors 2"
    )  # shown where it differs
    node.unstage(volume)
    node.stage(volume, mount_capability("ext4", "errors=panic"))
    asked = mounts.find(staged)
    assert asked
    assert "errors=remount-ro" not in asked.super_options, "an administrator may ask for it"


def test_a_file_system_with_a_count_of_errors_alone_is_checked(node: Node) -> None:
    """As a clone of a volume may have it: publishing would refuse it for ever."""
    volume = prepared(node)
    edit(volume, "ssv error_count 5")
    node.stage(volume)
    node.publish(volume)


def test_a_new_file_system_that_cannot_be_mounted_is_not_made_again(node: Node) -> None:
    volume = node.volume()
    with pytest.raises(InvalidRequest, match="unsupported mount options for ext4: frobnicate"):
        node.stage(volume, mount_capability("ext4", "frobnicate"))
    assert record_of(node).state is State.FORMATTED


def test_the_mark_of_a_file_system_that_was_there_is_of_never_formatted_attachments_only(node: Node) -> None:
    volume = prepared(node)
    later = replace(volume, attachment="of-this-node@2", formatting=Formatting.FORBIDDEN)
    node.stage(later)
    node.unstage(later)
    assert not node.records.formatted.holds(volume.id, later.attachment)


@pytest.mark.parametrize("damaged", [(0, 4096), (4096, MIB)])
def test_an_interrupted_mkfs_is_repeated(node: Node, damaged: tuple[int, int]) -> None:
    """Whether it left a superblock, over ruins, or none."""
    assert run(node.base, "stage", "ext4", "stage.mkfs-done") == -signal.SIGKILL
    volume, (offset, length) = node.volume(), damaged
    with volume.file.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * length if offset else bytes(length))
    staged = node.stage(volume)
    (Path(staged) / "f").write_text("usable")
    assert record_of(node).state is State.STAGED


def stage_without_the_capability(node: Node, fs_type: str) -> None:
    """In a process that lacks CAP_SYS_RESOURCE, as its children do."""
    argv = ("setpriv", "--bounding-set=-sys_resource", sys.executable, "-m", "tests.component.node.bed")
    spec = json.dumps({"kind": fs_type})
    subprocess.run([*argv, str(node.base), "stage", spec], check=True, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("fs_type", ["ext4", "xfs"])
def test_a_file_system_grows_without_the_capability_to_grow_ext4_mounted(node: Node, fs_type: str) -> None:
    volume = prepared(node, fs_type)
    volume.resize(2 * SIZE)
    stage_without_the_capability(node, fs_type)
    assert total(node, volume) > 1.6 * SIZE


def test_an_ext4_is_not_grown_unmounted_where_it_can_be_grown_mounted(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether this machine's kernel then lets the tests grow it is another matter."""
    volume, unmounted = prepared(node), []
    volume.resize(2 * SIZE)
    real = kernel.has_capability
    monkeypatch.setattr(kernel, "has_capability", lambda number: number == kernel.CAP_SYS_RESOURCE or real(number))
    monkeypatch.setattr(filesystems, "grow_unmounted", lambda *_: unmounted.append(True))
    with contextlib.suppress(HostError):
        node.stage(volume)
    assert unmounted == []
    monkeypatch.setattr(kernel, "has_capability", lambda _number: False)
    with contextlib.suppress(HostError):
        node.stage(volume)
    assert unmounted == ([] if real(kernel.CAP_SYS_RESOURCE) else [True])
