"""From records to the wire."""

from __future__ import annotations

import pytest

from csi_cinderlib.csi import capabilities, responses
from csi_cinderlib.csi.requests import fields
from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.model.answers import CapacityAnswer, VolumeState
from csi_cinderlib.model.capability import AccessMode, Block, Capability, Mount
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import Condition, NodeStats, Usage
from csi_cinderlib.model.size import MAX_SIZE, Bytes, GiB
from tests.component.csi.valid_requests import block, mount

GIB = 1024**3
TIME = "2026-01-02T03:04:05.678900Z"


def volume(**changes: object) -> Volume:
    return Volume(**{"id": "v", "backend": "array", "size": GiB(2), "pool": "ssd", **changes})  # type: ignore[arg-type]  # by name


def snapshot(**changes: object) -> Snapshot:
    values = {
        "id": "s",
        "backend": "array",
        "volume_id": "v",
        "size": GiB(3),
        "status": Status.AVAILABLE,
        "created_at": TIME,
    }
    return Snapshot(**{**values, **changes})  # type: ignore[arg-type]  # by name


def test_a_volume_shows_its_real_size_where_it_is_and_from_where_it_is_reached() -> None:
    shown = responses.volume(volume(), {"zone": "a"})
    assert (shown.volume_id, shown.capacity_bytes) == ("v", 2 * GIB)
    assert dict(shown.volume_context) == {"backend": "array", "pool": "ssd"}
    assert [dict(item.segments) for item in shown.accessible_topology] == [{"zone": "a"}]
    assert not shown.HasField("content_source")


@pytest.mark.parametrize("kind", SourceKind)
def test_a_volume_made_from_something_always_says_from_what(kind: SourceKind) -> None:
    """Without it the provisioner deletes the volume."""
    source = Source(kind, "src")
    shown = responses.volume(volume(source=source)).content_source
    assert fields.source(shown) == source


def test_a_listed_volume_shows_its_nodes_and_condition() -> None:
    state = VolumeState(record=volume(), nodes=("n1", "n2"), condition=Condition(abnormal=True, message="bad"))
    topology = {"zone": "a"}
    page = responses.listed_volumes([state, state], {state.record.backend: topology}, "more", token_after=str)
    entry, got = page.entries[0], responses.got_volume(state, topology)
    for status in (entry.status, got.status):
        assert list(status.published_node_ids) == ["n1", "n2"]
        assert (status.volume_condition.abnormal, status.volume_condition.message) == (True, "bad")
    assert entry.volume == got.volume == responses.volume(state.record, topology)
    assert (list(page.entries), page.next_token) == ([entry, entry], "more")


def test_a_page_ends_before_it_is_more_than_a_client_takes() -> None:
    nodes = tuple(f"{number:0203}" for number in range(20))
    states = [
        VolumeState(record=volume(id=f"v{number:04}"), nodes=nodes, condition=Condition(abnormal=False, message="fine"))
        for number in range(1000)
    ]
    page = responses.listed_volumes(states, {}, "more", token_after="after {}".format)
    assert 2 << 20 < page.ByteSize() < 4 << 20
    assert page.next_token == f"after {page.entries[-1].volume.volume_id}"
    assert page.entries[-1].volume.volume_id == f"v{len(page.entries) - 1:04}"


def test_a_single_entry_is_never_left_out_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_PAGE", 1)
    states = [
        VolumeState(record=volume(id=id), nodes=(), condition=Condition(abnormal=False, message="fine")) for id in "ab"
    ]
    page = responses.listed_volumes(states, {}, "", token_after=str)
    assert ([entry.volume.volume_id for entry in page.entries], page.next_token) == (["a"], "a")


def test_a_snapshot_shows_when_it_was_taken_and_whether_it_is_ready() -> None:
    shown = responses.snapshot(snapshot(group_snapshot_id="g"))
    assert (shown.snapshot_id, shown.source_volume_id, shown.group_snapshot_id) == ("s", "v", "g")
    assert (shown.size_bytes, shown.ready_to_use) == (3 * GIB, True)
    assert shown.creation_time.ToJsonString() == "2026-01-02T03:04:05.678900Z"
    assert not responses.snapshot(snapshot(status=Status.CREATING)).ready_to_use


def test_a_snapshot_whose_time_cannot_be_read_still_has_one() -> None:
    assert responses.snapshot(snapshot(created_at="")).HasField("creation_time")


def test_a_group_snapshot_is_ready_when_all_its_members_are() -> None:
    group = GroupSnapshot(id="g", backend="array", status=Status.AVAILABLE, created_at=TIME)
    assert responses.group_snapshot(group, [snapshot(), snapshot(id="t")]).ready_to_use
    half = responses.group_snapshot(group, [snapshot(), snapshot(id="t", status=Status.CREATING)])
    assert not half.ready_to_use
    assert [member.snapshot_id for member in half.snapshots] == ["s", "t"]
    assert half.creation_time == responses.timestamp(TIME)


def test_capacity_leaves_out_what_is_not_known() -> None:
    full = responses.capacity(CapacityAnswer(available=Bytes(5), maximum=Bytes(0), minimum=Bytes(1)))
    assert (full.available_capacity, full.maximum_volume_size.value, full.minimum_volume_size.value) == (5, 0, 1)
    assert full.HasField("maximum_volume_size")
    bare = responses.capacity(CapacityAnswer(available=Bytes(5)))
    assert not bare.HasField("maximum_volume_size")
    assert not bare.HasField("minimum_volume_size")


def test_statistics_keep_their_units() -> None:
    lines = (Usage(unit="bytes", total=10, used=4, available=5), Usage(unit="inodes", total=7))
    shown = responses.stats(NodeStats(usage=lines, condition=Condition(abnormal=False, message="fine")))
    assert [(line.unit, line.total, line.used, line.available) for line in shown.usage] == [
        (pb.VolumeUsage.BYTES, 10, 4, 5),
        (pb.VolumeUsage.INODES, 7, 0, 0),
    ]
    assert shown.volume_condition.message == "fine"


@pytest.mark.parametrize("mode", AccessMode)
def test_a_capability_is_parsed_from_the_wire(mode: AccessMode) -> None:
    value = pb.VolumeCapability.AccessMode.Mode.Value(mode)
    assert capabilities.capability(block(value)) == Capability(Block(), mode)
    if mode.multi_node and not mode.read_only:
        with pytest.raises(capabilities.CapabilityRefused, match="several nodes"):
            capabilities.capability(mount("xfs", "noatime", mode=value))
    else:
        assert capabilities.capability(mount("xfs", "noatime", mode=value)) == Capability(
            Mount("xfs", ("noatime",)), mode
        )


def test_the_access_modes_of_the_model_are_those_of_the_protocol() -> None:
    assert {mode.value for mode in AccessMode} | {"UNKNOWN"} == set(pb.VolumeCapability.AccessMode.Mode.keys())


def test_exactly_the_promised_capabilities_are_advertised() -> None:
    rpc = pb.ControllerServiceCapability.RPC.Type
    every = set(rpc.keys()) - {"UNKNOWN"}
    assert {rpc.Name(kind) for kind in capabilities.controller(modifies=True)} == every
    assert {rpc.Name(kind) for kind in capabilities.controller(modifies=False)} == every - {"MODIFY_VOLUME"}
    node = pb.NodeServiceCapability.RPC.Type
    assert {node.Name(kind) for kind in capabilities.NODE} == set(node.keys()) - {"UNKNOWN", "VOLUME_MOUNT_GROUP"}


def test_the_largest_size_that_is_accepted_can_be_answered() -> None:
    size = fields.size_range(pb.CapacityRange(required_bytes=MAX_SIZE)).choose()
    assert responses.volume(volume(size=size)).capacity_bytes == MAX_SIZE
