"""A read-only attachment shows every file that was on stable storage, or it is refused: a journal is replayed, never skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from csi_cinderlib.csi import capabilities
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.pages import JOURNAL_PAGE
from tests.component.csi import valid_requests
from tests.component.node.bed import Node, Volume, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.support import disks

pytestmark = pytest.mark.root
FILES = {f"f{number}": f"text {number}" for number in range(50)}
FILE_SYSTEMS = ("ext4", "xfs", "btrfs")
WITHOUT_REPLAY = {"ext4": ("noload",), "xfs": ("norecovery", "nouuid"), "btrfs": ("rescue=nologreplay",)}


def reader(fs_type: str) -> Capability:
    return mount_capability(fs_type, mode=AccessMode.MULTI_NODE_READER_ONLY)


def restore_of_a_snapshot_in_use(node: Node, fs_type: str) -> Volume:
    """What a read-only-many claim gets whose source is a snapshot of a volume with 50 fsynced files, taken while mounted.

    The files are in the journal and nowhere else, unless the kernel was told to write out everything just then, by whomever, or the
    snapshot took as long as half a minute. Then another one is taken.
    """
    source, restored = node.volume("source"), node.base / "volume-restored"
    for _ in range(10):
        take_snapshot(node, source, fs_type, restored)
        if shown_without_replay(restored, fs_type) != FILES:
            break
    else:
        pytest.fail("the journal was empty each time")
    return Volume(id="restored", file=restored, formatting=Formatting.FORBIDDEN, read_only=True, alone=True)


def take_snapshot(node: Node, source: Volume, fs_type: str, snapshot: Path) -> None:
    staged = Path(node.stage(source, mount_capability(fs_type)))
    for name in FILES:
        (staged / name).unlink(missing_ok=True)
    disks.sync(staged)
    for name, text in FILES.items():
        with (staged / name).open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    shutil.copyfile(source.file, snapshot)
    node.unstage(source)


def shown_without_replay(image: Path, fs_type: str) -> dict[str, str]:
    """As when the journal is skipped."""
    target = image.with_name("without-replay")
    target.mkdir(exist_ok=True)
    device = devices.attach_file(str(image), read_only=True)
    try:
        mounts.mount(device, str(target), fs_type, ("ro", *WITHOUT_REPLAY[fs_type]))
        return shown(str(target))
    finally:
        mounts.unmount(str(target))
        devices.detach_from(str(image))


def shown(target: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in Path(target).iterdir() if path.is_file()}


@pytest.mark.parametrize("fs_type", FILE_SYSTEMS)
def test_every_fsynced_file_is_there(node: Node, fs_type: str) -> None:
    volume = restore_of_a_snapshot_in_use(node, fs_type)
    node.stage(volume, reader(fs_type))
    target = node.publish(volume, reader(fs_type))
    assert shown(target) == FILES
    assert not node.stats(volume, target).condition.abnormal
    record = node.records.find("restored")
    assert record
    assert record.device
    assert devices.is_read_only(record.device.path)
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


@pytest.mark.parametrize("fs_type", FILE_SYSTEMS)
def test_a_node_that_is_not_alone_refuses_until_another_replayed_the_journal(node: Node, fs_type: str) -> None:
    alone = restore_of_a_snapshot_in_use(node, fs_type)
    shared = replace(alone, alone=False)
    before = shared.file.read_bytes()
    with pytest.raises(
        PreconditionFailed, match=rf"was not unmounted cleanly, .* attached to other nodes.*; see {JOURNAL_PAGE}"
    ):
        node.stage(shared, reader(fs_type))
    assert shared.file.read_bytes() == before
    assert (mounted_below(node.base), loops_of(node.base)) == ([], [])
    node.stage(alone, reader(fs_type))
    node.unstage(alone)
    before = shared.file.read_bytes()
    node.stage(shared, reader(fs_type))
    assert shown(node.publish(shared, reader(fs_type))) == FILES
    node.unpublish(shared)
    node.unstage(shared)
    assert shared.file.read_bytes() == before


@dataclass
class Disk(Volume):
    """A volume whose device is there already, and stays when it is disconnected."""

    path: str = ""

    @property
    def connection(self) -> Connection:
        return replace(super().connection, data={"device_path": self.path})


@pytest.fixture
def disk(node: Node) -> Iterator[Disk]:
    yield Disk(id="restored", file=node.base / "volume-restored", formatting=Formatting.FORBIDDEN, read_only=True)
    for path in reversed(mounted_below(node.base)):
        mounts.unmount(path)
    devices.detach_from(str(node.base / "volume-restored"))


@pytest.mark.parametrize("fs_type", FILE_SYSTEMS)
def test_a_disk_is_read_only_while_it_is_staged_and_writable_for_a_replay(node: Node, disk: Disk, fs_type: str) -> None:
    disk.file = restore_of_a_snapshot_in_use(node, fs_type).file
    disk.path = devices.attach_file(str(disk.file))
    with pytest.raises(PreconditionFailed, match="attached to other nodes"):
        node.stage(disk, reader(fs_type))
    assert not devices.is_read_only(disk.path)
    disk.alone = True
    staged = node.stage(disk, reader(fs_type))
    assert shown(staged) == FILES
    assert devices.is_read_only(disk.path)
    node.unstage(disk)
    assert not devices.is_read_only(disk.path)


@pytest.mark.parametrize("fs_type", FILE_SYSTEMS)
def test_a_disk_that_takes_no_writes_is_refused_when_its_journal_must_be_replayed(
    node: Node, disk: Disk, fs_type: str
) -> None:
    disk.file = restore_of_a_snapshot_in_use(node, fs_type).file
    disk.path = devices.attach_file(str(disk.file), read_only=True)
    disk.alone = True
    with pytest.raises(PreconditionFailed, match=r"/dev/loop.* is read-only"):
        node.stage(disk, reader(fs_type))
    assert mounted_below(node.base) == []


@pytest.mark.parametrize(
    ("fs_type", "flags"),
    [
        ("ext4", ("ro", "noload")),
        ("ext4", ("ro", "norecovery")),
        ("ext4", ("sb=131072",)),
        ("xfs", ("ro", "norecovery")),
        ("btrfs", ("ro", "rescue=nologreplay")),
        ("btrfs", ("ro", "rescue=all")),
    ],
)
def test_an_option_that_hides_files_is_refused(node: Node, disk: Disk, fs_type: str, flags: tuple[str, ...]) -> None:
    disk.file = restore_of_a_snapshot_in_use(node, fs_type).file
    device, target = devices.attach_file(str(disk.file)), node.staging_path(disk)
    mounts.mount(device, target, fs_type, ("nouuid", *flags) if fs_type == "xfs" else flags)
    assert shown(target) != FILES
    asked = valid_requests.mount(fs_type, *flags)
    with pytest.raises(capabilities.CapabilityRefused, match="files on stable storage would be missing"):
        capabilities.capability(asked)
