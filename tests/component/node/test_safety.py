"""The promises: never format data, never use another device than recorded, never lose what a crash left."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.brick import ANYWHERE, Device, Initiator
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import CorruptRecord, HostError, PreconditionFailed, UnsafeToFormat
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.requests import StageVolume
from csi_cinderlib.node.stage_record import State
from csi_cinderlib.node.staging import Staging
from tests.component.node.bed import BLOCK, EXT4, MIB, SIZE, Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.support import disks

pytestmark = pytest.mark.root


def write(volume: Volume, offset: int, data: bytes) -> None:
    with volume.file.open("r+b") as file:
        file.seek(offset if offset >= 0 else volume.file.stat().st_size + offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def test_a_foreign_signature_is_never_formatted(node: Node) -> None:
    volume = node.volume()
    write(volume, 0, b"LUKS\xba\xbe\x00\x02" + bytes(4096))
    before = volume.file.read_bytes()
    with pytest.raises(UnsafeToFormat, match="luks2"):
        node.stage(volume)
    assert volume.file.read_bytes() == before
    assert_nothing_left(node.base)


def test_another_file_system_than_the_one_asked_for_is_left_alone(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, mount_capability("xfs"))
    node.unstage(volume)
    with pytest.raises(PreconditionFailed, match="contains file system 'xfs', but 'ext4' was requested"):
        node.stage(volume)
    node.stage(volume, mount_capability("xfs"))


@pytest.mark.parametrize("offset", [100_000, -100_000])
def test_a_device_that_another_node_had_is_formatted_only_when_blank(node: Node, offset: int) -> None:
    used, blank = (
        node.volume("used", formatting=Formatting.UNKNOWN),
        node.volume("blank", formatting=Formatting.UNKNOWN),
    )
    write(used, offset, b"data")
    with pytest.raises(UnsafeToFormat, match="not blank"):
        node.stage(used)
    node.stage(blank)
    assert mounted_below(node.base) == [node.staging_path(blank)]


def test_a_volume_with_a_source_is_never_formatted(node: Node) -> None:
    volume = node.volume(formatting=Formatting.FORBIDDEN)
    with pytest.raises(UnsafeToFormat, match="the volume must not be formatted"):
        node.stage(volume)
    assert volume.file.read_bytes()[: 2 * MIB] == bytes(2 * MIB)
    assert_nothing_left(node.base)


def test_a_device_that_cannot_be_read_is_an_error_and_not_blank(node: Node) -> None:
    """The file shrank below the device: reads behind its end fail."""
    volume = node.volume()
    loop = devices.attach_file(str(volume.file))
    os.truncate(volume.file, SIZE // 2)
    grown = Volume(id="vol", file=node.base / "same-size")
    grown.file.write_bytes(b"")
    os.truncate(grown.file, SIZE)
    connection = grown.connection
    context = {"connection": node.sealer.seal(replace(connection, data={"device_path": loop}).to_bytes())}
    request = StageVolume(
        volume_id="vol", staging_path=node.staging_path(volume), capability=EXT4, publish_context=context
    )
    with pytest.raises(HostError, match="cannot read"):
        node.staging.stage(request)
    assert mounted_below(node.base) == []
    devices.detach_from(str(volume.file))


def test_what_was_staged_once_is_never_formatted_again(node: Node) -> None:
    """Its superblock vanishes while the node is down: the record forbids mkfs although the controller would allow it."""
    volume = node.volume()
    staged = node.stage(volume)
    mounts.unmount(staged)
    write(volume, 0, bytes(2 * MIB))
    with pytest.raises(UnsafeToFormat):
        Node(node.base).stage(volume)


def test_another_device_behind_the_same_connection_is_refused(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    mounts.unmount(staged)
    for loop in loops_of(node.base):
        devices.detach_file(loop, expected=devices.identity(loop))
    volume.file.rename(node.base / "moved")
    with volume.file.open("wb") as file:  # as if the array had put another volume behind the LUN
        file.truncate(SIZE)
    with pytest.raises(PreconditionFailed, match="not touched"):
        Node(node.base).stage(volume)
    assert volume.file.read_bytes()[: 2 * MIB] == bytes(2 * MIB)
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("capability", [EXT4, BLOCK])
def test_a_file_that_replaced_a_published_volume_gets_no_unrecorded_device(node: Node, capability: Capability) -> None:
    volume = node.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    volume.file.unlink()
    node.volume()  # a new file of the same name
    for _ in range(2):
        with pytest.raises(PreconditionFailed, match="not touched"):
            node.stage(volume, capability)
        assert devices.find_attached(str(volume.file)) is None
    node.unpublish(volume, target)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_file_that_was_deleted_and_made_anew_under_a_staged_volume_is_another_volume(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    (Path(staged) / "f").write_text("old")
    volume.file.unlink()
    assert "was removed or replaced by another file" in node.stats(volume, staged).condition.message
    node.volume()  # a new file of the same name
    with pytest.raises(PreconditionFailed, match="was removed or replaced by another file"):
        node.publish(volume)
    assert node.stats(volume, staged).condition.abnormal
    with pytest.raises(PreconditionFailed, match="not touched"):
        node.stage(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)
    node.stage(replace(volume, attachment="of-this-node@2"))
    assert not (Path(staged) / "f").exists()


@pytest.mark.parametrize("by_its_name", [True, False])
def test_a_device_that_is_another_volume_here_is_refused_and_that_volume_stays(
    node: Node, *, by_its_name: bool
) -> None:
    first = node.volume()
    node.stage(first)
    second = Volume(id="second", file=first.file)
    if not by_its_name:
        second.file = node.base / "elsewhere" / first.file.name
        second.file.parent.mkdir()
        second.file.hardlink_to(first.file)
    with pytest.raises(HostError, match="belongs to volume vol, which is staged here"):
        node.stage(second)
    assert node.records.find("second") is None
    assert node.stats(first, node.staging_path(first)).condition.abnormal is False
    node.unstage(first)
    assert_nothing_left(node.base)


class Failing(Initiator):
    """An array that names another volume's address, and a connection that fails for whatever reason."""

    def connect(self, connection: Connection) -> Device:
        super().connect(connection)
        raise HostError("after all")


def test_the_address_of_another_volume_is_neither_connected_nor_undone(node: Node) -> None:
    first = node.volume()
    node.stage(first, BLOCK)
    node.initiator = Failing(node.base / "state", allowed=ANYWHERE)
    node.staging = Staging(node.records, node.initiator, node.sealer, KeyedLocks())
    with pytest.raises(HostError, match="belongs to volume vol, which is staged here"):
        node.stage(Volume(id="second", file=first.file), BLOCK)
    assert node.records.find("second") is None
    assert node.stats(first, node.staging_path(first)).condition.abnormal is False


def test_the_address_of_a_volume_whose_device_is_gone_is_free(node: Node) -> None:
    """Its unstage never came, and the array has given the address to another volume."""
    first = node.volume()
    node.stage(first, BLOCK)
    devices.detach_from(str(first.file))
    first.file.rename(node.base / "given-away")
    second = Volume(id="second", file=first.file)
    with first.file.open("wb") as file:
        file.truncate(SIZE)
    node.stage(second, BLOCK)
    assert node.records.find("second")


def test_a_staging_mount_that_is_gone_is_repaired(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    before = node.records.find("vol")
    mounts.unmount(staged)
    node.stage(volume)
    assert node.records.find("vol") == before
    assert set(mounted_below(node.base)) == {staged, target}
    assert len(loops_of(node.base)) == 1


def test_a_staging_mount_of_a_dead_device_is_replaced(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    (Path(staged) / "f").write_text("kept")
    disks.sync(staged)
    record = node.records.find("vol")
    assert record
    assert record.device
    stale = replace(record.device, path="/dev/loop-gone")
    node.records.save(replace(record, device=stale))
    node.stage(volume)
    assert (Path(staged) / "f").read_text() == "kept"
    assert len(mounted_below(node.base)) == 1


def test_a_path_that_is_taken_by_something_else_is_refused(node: Node) -> None:
    volume = node.volume()
    staged = node.staging_path(volume)
    mounts.mount("tmpfs", staged, "tmpfs")
    with pytest.raises(Exception, match="another mount is there"):
        node.stage(volume)
    assert [item.fs_type for item in mounts.find_all(staged)] == ["tmpfs"]
    assert loops_of(node.base) == []


def test_a_corrupt_record_stops_its_own_volume_alone(node: Node) -> None:
    bad, good = node.volume("bad"), node.volume("good")
    node.stage(bad)
    node.publish(bad)
    path = node.records.directory / "bad.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    again = Node(node.base)
    assert again.reconcile().corrupt == ("bad",)
    for call in (again.stage, again.unstage, again.publish):
        with pytest.raises(CorruptRecord, match=r"'bad'.*bad\.json"):
            call(bad)
    node.note(bad)
    again.unpublish(bad)
    again.stage(good)
    path.write_text(text)
    again.unstage(bad)


def test_records_are_private_and_hold_what_detaching_needs(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    path = node.records.directory / "vol.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert node.records.directory.stat().st_mode & 0o777 == 0o700
    raw = json.loads(path.read_text())
    assert raw["connection"]["data"] == {"device_path": str(volume.file)}
    assert raw["state"] == State.STAGED


def test_a_file_system_that_went_read_only_is_reported(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume)
    subprocess.run(["mount", "-o", "remount,ro", node.staging_path(volume)], check=True)
    condition = node.stats(volume, target).condition
    assert condition.abnormal
    assert "read-only" in condition.message


def test_a_device_that_fails_reads_is_reported(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    target = node.publish(volume, BLOCK)
    os.truncate(volume.file, 0)
    stats = node.stats(volume, target)
    assert stats.condition.abnormal
    assert "cannot read" in stats.condition.message
    os.truncate(volume.file, SIZE)


def test_a_device_that_is_gone_is_an_abnormal_condition(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume)
    record = node.records.find("vol")
    assert record
    assert record.device
    node.records.save(replace(record, device=replace(record.device, path="/dev/loop-gone")))
    condition = node.stats(volume, target).condition
    assert condition.abnormal
    assert "gone" in condition.message
    node.records.save(record)


def test_a_dirty_journal_is_replayed_even_for_a_reader(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    (Path(staged) / "f").write_text("kept")
    disks.sync(staged)
    copy = node.volume("copy", formatting=Formatting.FORBIDDEN)  # of a mounted file system: its journal is in use
    copy.file.write_bytes(volume.file.read_bytes())
    reader = mount_capability("ext4", mode=AccessMode.MULTI_NODE_READER_ONLY)
    node.stage(copy, reader)
    assert (Path(node.staging_path(copy)) / "f").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (Path(node.staging_path(copy)) / "f").write_text("x")
    copy_read_only = node.volume("copy2", formatting=Formatting.FORBIDDEN, read_only=True)
    copy_read_only.file.write_bytes(volume.file.read_bytes())
    before = copy_read_only.file.read_bytes()
    with pytest.raises(PreconditionFailed, match="not unmounted cleanly"):
        node.stage(copy_read_only, reader)
    assert copy_read_only.file.read_bytes() == before


def test_many_volumes_are_staged_at_once(node: Node) -> None:
    volumes = [node.volume(f"v{number}", size=32 * MIB) for number in range(12)]
    errors: list[BaseException] = []

    def life(volume: Volume) -> None:
        try:
            target = node.target(volume.id)
            node.stage(volume)
            node.publish(volume, target=target)
            (Path(target) / "id").write_text(volume.id)
            node.unpublish(volume, target)
            node.unstage(volume)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=life, args=(volume,)) for volume in volumes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert_nothing_left(node.base)
    for volume in volumes:
        node.stage(volume)
        assert (Path(node.staging_path(volume)) / "id").read_text() == volume.id
