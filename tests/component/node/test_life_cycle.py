"""Stage, publish, expand, measure and back, on real loop devices and mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    NotFound,
    OperationPending,
    OutOfRange,
    PreconditionFailed,
)
from csi_cinderlib.host import devices, filesystems, kernel, mounts
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.connection import Formatting
from tests.component.node.bed import BLOCK, EXT4, MIB, SIZE, Node, mount_capability
from tests.component.node.conftest import assert_nothing_left, loops_of, mounted_below
from tests.support import disks

pytestmark = pytest.mark.root


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_volume_keeps_its_data_through_its_whole_life(node: Node, fs_type: str) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    staged = node.stage(volume, capability)
    target = node.publish(volume, capability)
    (Path(target) / "data").write_text("kept")
    assert mounts.find(staged).fs_type == fs_type  # type: ignore[union-attr] # mounted, or the test fails here
    node.unpublish(volume)
    assert not Path(target).exists()
    node.unstage(volume)
    assert_nothing_left(node.base)

    volume.formatting = Formatting.FORBIDDEN
    node.stage(volume, capability)
    assert (Path(node.publish(volume, capability)) / "data").read_text() == "kept"
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_block_volume_is_bound_as_a_device_node(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    assert mounted_below(node.base) == []
    target = node.publish(volume, BLOCK)
    with Path(target).open("r+b", buffering=0) as device:
        device.write(b"x" * 4096)
        os.fsync(device)
    assert volume.file.read_bytes()[:4096] == b"x" * 4096
    assert list(Path(staged).iterdir()) == []
    node.unpublish(volume)
    assert not Path(target).exists()
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_the_same_stage_again_changes_nothing(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    before = (node.records.find("vol"), mounted_below(node.base), loops_of(node.base))
    node.stage(volume)
    Node(node.base).stage(volume)
    assert (node.records.find("vol"), mounted_below(node.base), loops_of(node.base)) == before


def test_a_stage_that_differs_is_refused_while_the_first_works(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    with pytest.raises(AlreadyExists, match="staged as"):
        node.stage(volume, mount_capability("ext4", "noatime"))
    with pytest.raises(AlreadyExists, match="staged at"):
        node.stage(volume, path=str(node.base / "elsewhere"))


def test_mount_flags_are_used_and_do_not_leak_into_the_next_volume(node: Node) -> None:
    first, second = node.volume("a"), node.volume("b")
    node.stage(first, mount_capability("ext4", "noatime", "commit=7"))
    node.stage(second)
    one, two = mounts.find(node.staging_path(first)), mounts.find(node.staging_path(second))
    assert one
    assert two
    assert "noatime" in one.options
    assert "commit=7" in one.super_options
    assert "noatime" not in two.options
    assert "commit=7" not in two.super_options


def test_publishing_what_is_not_staged_is_refused_and_binds_nothing(node: Node) -> None:
    volume = node.volume()
    with pytest.raises(PreconditionFailed, match="not staged"):
        node.publish(volume)
    staged = node.stage(volume)
    mounts.unmount(staged)  # as after a reboot that kept the directory
    with pytest.raises(PreconditionFailed, match="staged again"):
        node.publish(volume)
    assert not Path(node.target()).exists()


def test_publish_again_compares_with_what_is_there(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume)
    node.publish(volume)
    with pytest.raises(AlreadyExists, match="writable"):
        node.publish(volume, read_only=True)
    with pytest.raises(AlreadyExists, match="published as"):
        node.publish(volume, mount_capability("ext4", mode=AccessMode.MULTI_NODE_MULTI_WRITER))
    assert len([path for path in mounted_below(node.base) if path == target]) == 1


def test_another_target_needs_an_access_mode_that_allows_it(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.publish(volume)
    with pytest.raises(PreconditionFailed, match=r"pod1.*SINGLE_NODE_WRITER allows only one target"):
        node.publish(volume, target=node.target("pod2"))
    shared = mount_capability("ext4", mode=AccessMode.SINGLE_NODE_MULTI_WRITER)
    node.publish(volume, shared, node.target("pod2"))
    (Path(node.target("pod2")) / "f").write_text("seen by both")
    assert (Path(node.target()) / "f").exists()


def test_a_read_only_publication_refuses_writes_and_the_writable_one_beside_it_does_not(node: Node) -> None:
    capability = mount_capability("ext4", mode=AccessMode.SINGLE_NODE_MULTI_WRITER)
    volume = node.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability, read_only=True)
    with pytest.raises(OSError, match="Read-only"):
        (Path(target) / "f").write_text("x")
    other = node.publish(volume, capability, node.target("pod2"))
    (Path(other) / "f").write_text("x")
    assert node.stats(volume, target).condition.abnormal is False


def test_a_read_only_block_publication_refuses_writes_even_by_its_node(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, BLOCK)
    target = node.publish(volume, BLOCK, read_only=True)
    node.publish(volume, BLOCK, read_only=True)
    with pytest.raises(OSError), Path(target).open("r+b", buffering=0) as device:
        device.write(b"x" * 4096)
    assert node.stats(volume, target).usage[0].total == SIZE
    volume.resize(SIZE + 64 * MIB)
    assert node.expand(volume, target) == SIZE + 64 * MIB
    assert devices.size(target) == SIZE + 64 * MIB
    node.unpublish(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_unpublish_needs_no_record_and_may_be_repeated(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    target = node.publish(volume)
    record = node.records.find("vol")
    node.records.remove("vol")
    node.note(volume)
    node.unpublish(volume)
    assert not Path(target).exists()
    node.unpublish(volume)
    assert record
    node.records.save(record)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_unpublish_takes_all_layers(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    mounts.bind(staged, target)
    node.unpublish(volume)
    assert mounted_below(node.base) == [staged]


def test_unpublish_never_removes_data(node: Node) -> None:
    volume, target = node.volume(), Path(node.target())
    target.mkdir()
    (target / "somebody's").write_text("data")
    node.unpublish(volume)
    node.note(volume)
    with pytest.raises(Exception, match="not empty"):
        node.unpublish(volume)
    assert (target / "somebody's").exists()


def test_unstage_of_a_published_volume_is_refused(node: Node) -> None:
    volume = node.volume()
    node.stage(volume)
    node.publish(volume)
    with pytest.raises(PreconditionFailed, match=r"still published at .*pod1"):
        node.unstage(volume)
    node.unpublish(volume)
    node.unstage(volume)
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_mount_without_a_record_is_an_error_and_no_mount_is_none(node: Node) -> None:
    volume = node.volume()
    node.unstage(volume)
    node.stage(volume)
    record = node.records.find("vol")
    assert record
    node.records.remove("vol")
    with pytest.raises(PreconditionFailed, match=r"volume vol: .* no stage record"):
        node.unstage(volume)
    assert mounted_below(node.base) == [record.staging_path]
    node.stage(volume)  # found again by its connection
    assert node.records.find("vol") == record
    node.unstage(volume)
    assert_nothing_left(node.base)


def test_a_second_call_on_a_busy_volume_is_refused_at_once(node: Node) -> None:
    volume = node.volume()
    with node.locks.hold("node:vol"):
        for call in (node.stage, node.publish, node.unpublish, node.unstage):
            with pytest.raises(OperationPending):
                call(volume)
    node.stage(volume)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_restore_to_a_larger_volume_is_grown_when_staged(node: Node, fs_type: str) -> None:
    volume, capability = node.volume(), mount_capability(fs_type)
    node.stage(volume, capability)
    (Path(node.staging_path(volume)) / "f").write_text("kept")
    node.unstage(volume)
    volume.resize(2 * SIZE)
    volume.formatting = Formatting.FORBIDDEN
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    assert node.stats(volume, target).usage[0].total > 1.6 * SIZE
    assert (Path(target) / "f").read_text() == "kept"


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_mounted_volume_grows(node: Node, fs_type: str) -> None:
    if fs_type == "ext4" and not kernel.has_capability(kernel.CAP_SYS_RESOURCE):
        pytest.skip("ext4 grows mounted only with CAP_SYS_RESOURCE: the guest tests it")
    volume, capability = node.volume(), mount_capability(fs_type)
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    volume.resize(2 * SIZE)
    assert node.expand(volume, target, required=2 * SIZE) == 2 * SIZE
    assert node.stats(volume, target).usage[0].total > 1.6 * SIZE
    assert node.expand(volume, target, required=2 * SIZE) == 2 * SIZE
    assert node.records.find("vol").connection.size == 2 * SIZE  # type: ignore[union-attr] # staged above


def test_a_block_volume_grows_and_the_real_size_is_answered(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    target = node.publish(volume, BLOCK)
    volume.resize(SIZE + 8 * MIB)
    assert node.expand(volume, target, required=SIZE + 1) == SIZE + 8 * MIB
    assert node.expand(volume, staged) == SIZE + 8 * MIB
    with pytest.raises(OutOfRange):
        node.expand(volume, target, limit=SIZE)


def test_stats_of_both_kinds(node: Node) -> None:
    volume, raw = node.volume(), node.volume("raw")
    node.stage(volume)
    node.stage(raw, BLOCK)
    mounted = node.stats(volume, node.publish(volume))
    assert [item.unit for item in mounted.usage] == ["bytes", "inodes"]
    assert all(item.total and item.used + item.available <= item.total for item in mounted.usage)
    block = node.stats(raw, node.publish(raw, BLOCK, node.target("pod2")))
    assert [(item.unit, item.total) for item in block.usage] == [("bytes", SIZE)]
    assert not mounted.condition.abnormal
    assert not block.condition.abnormal


def test_a_path_where_the_volume_is_not_is_not_found(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, other = node.volume(), node.volume("other")
    with pytest.raises(NotFound):
        node.stats(volume, node.target())
    node.stage(volume)
    node.stage(other)
    target = node.publish(volume)
    monkeypatch.chdir(Path(target).parent)
    for path in ("mount", "/tmp", "/nonexistent", node.target("pod2"), node.staging_path(other)):
        with pytest.raises(NotFound):
            node.stats(volume, path)
        with pytest.raises(NotFound):
            node.expand(volume, path)
    with pytest.raises(NotFound):
        node.statistics.stats(volume.id, target, node.staging_path(other))


def test_source_and_clone_with_one_uuid_are_mounted_together(node: Node) -> None:
    xfs = mount_capability("xfs")
    source = node.volume()
    node.stage(source, xfs)
    (Path(node.staging_path(source)) / "f").write_text("same")
    disks.sync(node.staging_path(source))
    clone = node.volume("clone", formatting=Formatting.FORBIDDEN)
    clone.file.write_bytes(source.file.read_bytes())
    node.stage(clone, xfs)
    assert (Path(node.staging_path(clone)) / "f").read_text() == "same"
    first, second = (filesystems.probe(loop) for loop in loops_of(node.base))
    assert first
    assert second
    assert first.uuid == second.uuid


def test_the_default_is_ext4_and_what_is_there_is_taken_when_nothing_is_asked(node: Node) -> None:
    plain = mount_capability("")
    first, second = node.volume("a"), node.volume("b", fs_type="xfs", mkfs_options=("-L", "named"))
    node.stage(first, plain)
    node.stage(second, plain)
    types = [mounts.find(node.staging_path(item)).fs_type for item in (first, second)]  # type: ignore[union-attr] # mounted
    assert types == ["ext4", "xfs"]
    found = filesystems.probe(node.records.find("b").device.path)  # type: ignore[union-attr] # staged above
    assert found
    assert found.label == "named"
    assert EXT4.access_mode is AccessMode.SINGLE_NODE_WRITER
