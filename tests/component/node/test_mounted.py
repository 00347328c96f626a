"""Which mounts are a volume's own."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, mounts
from csi_cinderlib.host.mounttable import parse_line
from csi_cinderlib.node import mounted
from csi_cinderlib.node.stage_record import StageRecord, State
from tests.component.node.bed import BLOCK, Node, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below

pytestmark = pytest.mark.root


def record_of(node: Node) -> StageRecord:
    record = node.records.find("vol")
    assert record
    return record


def path_of(record: StageRecord) -> str:
    assert record.device
    return record.device.path


def at_path(record: StageRecord, path: str) -> StageRecord:
    assert record.device
    return replace(record, device=replace(record.device, path=path))


@pytest.mark.parametrize("fs_type", ["ext4", "btrfs"])
def test_a_volume_is_visible_where_it_is_uppermost(node: Node, fs_type: str) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    target = node.publish(volume, capability)
    record = record_of(node)
    assert set(mounted.observe(record).visible()) == {staged, target}
    assert set(mounted.observe(record).places()[1]) == {target}
    mounts.mount("/", target, "tmpfs")  # the source of a tmpfs may be any text, a directory's path too
    assert set(mounted.observe(record).visible()) == {staged}
    mounts.mount("tmpfs", staged, "tmpfs")
    assert mounted.observe(record).visible() == {}
    assert mounted.observe(record).places()[0] is None
    for path in (staged, target):
        mounts.unmount_uppermost(path)
    assert mounted.observe(record).places()[0] == mounts.find(staged)


def test_what_is_mounted_from_another_device_of_the_same_name_is_not_visible(node: Node) -> None:
    for name in ("vol", "other"):
        node.stage(node.volume(name))
    record, other = record_of(node), node.records.find("other")
    assert other
    unknown = node.base / "unknown"
    os.mknod(unknown, stat.S_IFBLK | 0o600, os.makedev(7, 987654))
    elsewhere = [at_path(record, path) for path in (path_of(other), str(unknown), "/dev/missing")]
    for moved in (*elsewhere, replace(record, device=None)):
        assert mounted.is_another_device(moved)
        assert mounted.observe(moved).visible() == {}
    assert not mounted.is_another_device(record)


def test_a_target_of_a_read_only_view_is_visible(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    assert mounted.read_only_view(record_of(node)) == ""
    target = node.publish(volume, BLOCK, read_only=True)
    record = record_of(node)
    assert set(mounted.observe(record).places()[1]) == {target}
    assert devices.is_read_only(mounted.read_only_view(record))
    assert mounted.read_only_view(replace(record, device=None)) == ""
    assert mounted.read_only_view(replace(record, capability=mount_capability())) == ""


def test_unstage_removes_a_read_only_view_whose_target_is_gone(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    mounts.unmount(node.publish(volume, BLOCK, read_only=True))
    assert len(loops_of(node.base)) == 2
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_only_the_read_only_view_of_a_block_volume_is_removed(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    record = record_of(node)
    writable = devices.attach_file(path_of(record))
    read_only = devices.attach_file(path_of(record), read_only=True)
    mounted.detach_read_only_view(replace(record, device=None))
    mounted.detach_read_only_view(replace(record, capability=mount_capability()))
    assert len(loops_of(node.base)) == 3
    assert mounted.read_only_view(record) == read_only
    mounted.detach_read_only_view(record)
    assert set(loops_of(node.base)) == {path_of(record), writable} - {read_only}


def test_a_mount_is_known_by_its_device(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = node.stage(node.volume())
    (node.base / "tmpfs").symlink_to(path_of(record_of(node)))
    monkeypatch.chdir(node.base)  # where the source of a tmpfs is no file, whatever its name
    here = mounts.find(staged)
    assert here
    record = record_of(node)
    assert record.device
    assert mounted.identity(here) == record.device.wwid
    assert mounted.identity(replace(here, source="tmpfs")) == ""
    assert mounted.identity(replace(here, source="/dev/missing")) == ""


def test_a_mount_is_the_volumes_own_under_any_path_of_its_device(node: Node) -> None:
    staged = node.stage(node.volume())
    here = mounts.find(staged)
    assert here
    record = record_of(node)
    assert mounted.is_own(node.records, record, here)
    assert mounted.is_own(node.records, at_path(record, "/dev/missing"), here)
    assert not mounted.is_own(node.records, replace(record, device=None), here)
    nameless = parse_line("36 35 0:49 / /x rw - tmpfs tmpfs rw")
    assert record.device
    assert not mounted.is_own(node.records, replace(record, device=replace(record.device, wwid="")), nameless)


def test_a_mount_of_the_recorded_path_is_own_unless_another_volume_has_the_device(node: Node) -> None:
    """The device says by now that it is another one, as a LUN does whose volume was replaced."""
    staged = node.stage(node.volume())
    here = mounts.find(staged)
    assert here
    record = record_of(node)
    assert record.device
    renamed = replace(record, volume_id="renamed", device=replace(record.device, wwid="another"))
    assert not mounted.is_own(node.records, renamed, here)
    node.records.remove("vol")
    assert mounted.is_own(node.records, renamed, here)
    assert not mounted.is_own(node.records, at_path(renamed, "/dev/missing"), here)
    node.records.save(record)


def test_unstage_of_a_volume_without_a_device_keeps_what_is_mounted(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    record = record_of(node)
    node.unstage(volume)
    node.records.save(replace(record, device=None, state=State.INTENT))
    mounts.mount("tmpfs", staged, "tmpfs")
    node.unstage(volume)
    assert mounted_below(node.base) == [staged]
    assert node.records.find("vol") is None


def test_all_own_layers_are_unmounted_down_to_the_first_that_is_not(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    record = record_of(node)
    mounts.unmount(staged)
    mounts.mount("tmpfs", staged, "tmpfs")
    for _ in range(2):
        mounts.bind(target, staged)
    other = mounted.unmount_own(node.records, record, staged)
    assert other
    assert other.fs_type == "tmpfs"
    assert mounts.find_all(staged) == (other,)
    mounts.unmount(staged)
    assert mounted.unmount_own(node.records, record, staged) is None


def test_what_came_on_top_of_a_volume_since_the_look_stays(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    record = record_of(node)
    seen = mounted.observe(record)
    mounts.mount("theirs", staged, "tmpfs")
    with pytest.raises(HostError, match=r"tmpfs from theirs is now mounted there, expected ext4 from .*; try again"):
        mounted.unmount_own(node.records, record, staged, seen=seen)
    assert [item.fs_type for item in mounts.find_all(staged)] == ["ext4", "tmpfs"]
    with pytest.raises(HostError, match="tmpfs from theirs is mounted over it"):
        seen.places()
    mounts.unmount_uppermost(staged)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_what_took_the_place_of_a_volume_since_the_look_stays(node: Node) -> None:
    """An administrator unmounted the volume and mounted something else, which got the id of the volume's mount."""
    volume = node.volume()
    staged = node.stage(volume)
    record = record_of(node)
    seen = mounted.observe(record)
    mounts.unmount(staged)
    mounts.mount("theirs", staged, "tmpfs")
    with pytest.raises(HostError, match="tmpfs from theirs is now mounted there"):
        mounted.unmount_own(node.records, record, staged, seen=seen)
    node.unstage(volume)
    assert [item.source for item in mounts.find_all(staged)] == ["theirs"]
    mounts.unmount(staged)
    assert_nothing_left(node.base)
