"""NodeExpandVolume: which sizes are accepted and recorded, and what grows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.errors import HostError, NotFound, OperationPending, OutOfRange
from csi_cinderlib.host import mounts
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.node.stage_record import StageRecord
from tests.component.node.bed import BLOCK, MIB, SIZE, Node, mount_capability

pytestmark = pytest.mark.root
XFS = mount_capability("xfs")
READER = mount_capability("xfs", mode=AccessMode.MULTI_NODE_READER_ONLY)


def record_of(node: Node) -> StageRecord:
    record = node.records.find("vol")
    assert record
    return record


def test_a_volume_that_is_not_connected_here_is_not_found(node: Node) -> None:
    volume = node.volume()
    with pytest.raises(NotFound, match="volume 'vol' does not exist"):
        node.expand(volume, node.target())
    staged = node.stage(volume, BLOCK)
    record = record_of(node)
    node.records.save(replace(record, device=None))
    with pytest.raises(NotFound, match="volume 'vol' does not exist"):
        node.expand(volume, staged)
    node.records.save(record)


def test_a_busy_volume_is_not_grown(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    with node.locks.hold("node:vol"), pytest.raises(OperationPending):
        node.expand(volume, staged)


def test_the_limit_may_be_reached_and_not_exceeded(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    volume.resize(SIZE + 8 * MIB)
    with pytest.raises(OutOfRange, match="limit_bytes"):
        node.expand(volume, staged, limit=SIZE + 4 * MIB)
    assert node.expand(volume, staged, required=SIZE, limit=SIZE + 8 * MIB) == SIZE + 8 * MIB


def test_only_a_larger_size_is_recorded(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    before = record_of(node)
    assert node.expand(volume, staged) == SIZE
    assert record_of(node) == before
    volume.resize(2 * SIZE)
    node.expand(volume, staged, required=2 * SIZE)
    assert record_of(node).connection == replace(before.connection, size=Bytes(2 * SIZE))


def test_more_than_the_volume_has_is_out_of_range(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    before = record_of(node)
    with pytest.raises(OutOfRange, match=f"required_bytes: volume has {SIZE} bytes, less than the required {2 * SIZE}"):
        node.expand(volume, staged, required=2 * SIZE)
    assert record_of(node) == before


def test_a_volume_smaller_than_the_controller_said_is_no_fault_of_the_caller(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, BLOCK)
    record = record_of(node)
    node.records.save(replace(record, connection=replace(record.connection, size=Bytes(2 * SIZE))))
    with pytest.raises(HostError, match=f"has {SIZE} bytes after the expansion; expected at least {3 * SIZE}"):
        node.expand(volume, staged, required=3 * SIZE)


def test_a_read_only_file_system_is_left_as_it_is(node: Node) -> None:
    volume = node.volume()
    node.stage(volume, XFS)
    node.unstage(volume)
    staged = node.stage(volume, READER)
    volume.resize(2 * SIZE)
    assert node.expand(volume, staged, required=2 * SIZE) == 2 * SIZE
    assert node.stats(volume, staged).usage[0].total < 1.2 * SIZE


def test_a_file_system_that_is_only_staged_grows(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, XFS)
    volume.resize(2 * SIZE)
    assert node.expand(volume, staged, required=2 * SIZE) == 2 * SIZE
    assert node.stats(volume, staged).usage[0].total > 1.6 * SIZE


def test_a_file_system_grows_by_a_target_when_its_staging_mount_is_gone(node: Node) -> None:
    volume = node.volume()
    staged = node.stage(volume, XFS)
    target = node.publish(volume, XFS)
    mounts.unmount(staged)
    volume.resize(2 * SIZE)
    assert node.expand(volume, target, required=2 * SIZE) == 2 * SIZE
    assert node.stats(volume, target).usage[0].total > 1.6 * SIZE
