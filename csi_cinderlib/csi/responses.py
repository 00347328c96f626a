"""Converts the dataclasses of `model` to protos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.model import times
from csi_cinderlib.model.answers import CapacityAnswer, VolumeState
from csi_cinderlib.model.encryption import ENCRYPTION
from csi_cinderlib.model.records import EMPTY, GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.requests import Condition, NodeStats
from csi_cinderlib.model.size import to_bytes

_UNITS = {"bytes": csi_pb2.VolumeUsage.BYTES, "inodes": csi_pb2.VolumeUsage.INODES}


def volume(record: Volume, topology: Mapping[str, str] = EMPTY) -> csi_pb2.Volume:
    """A volume; `topology` is that of its back end. The volume context is informative: nodes only refuse one that says more than
    the record, such as an encryption."""
    shown = csi_pb2.Volume()
    _fill(shown, record, topology)
    return shown


def _fill(shown: csi_pb2.Volume, record: Volume, topology: Mapping[str, str]) -> None:
    shown.capacity_bytes = to_bytes(record.size)
    shown.volume_id = record.id
    if record.backend:
        shown.volume_context["backend"] = record.backend
    if record.pool:
        shown.volume_context["pool"] = record.pool
    if record.encryption:
        shown.volume_context[ENCRYPTION] = record.encryption
    if record.source:
        shown.content_source.CopyFrom(source(record.source))
    if topology:
        shown.accessible_topology.add(segments=topology)


def source(value: Source) -> csi_pb2.VolumeContentSource:
    if value.kind is SourceKind.SNAPSHOT:
        return csi_pb2.VolumeContentSource(snapshot=csi_pb2.VolumeContentSource.SnapshotSource(snapshot_id=value.id))
    return csi_pb2.VolumeContentSource(volume=csi_pb2.VolumeContentSource.VolumeSource(volume_id=value.id))


MAX_PAGE = 3 << 20
"""Bytes of the entries of a page. gRPC clients accept 4 MiB; a larger page would fail at every retry."""


def listed_volumes(
    states: Iterable[VolumeState],
    topologies: Mapping[str, Mapping[str, str]],
    next_token: str,
    *,
    token_after: Callable[[str], str],
) -> csi_pb2.ListVolumesResponse:
    """One page, or as much of it as fits.

    Entries are filled in place: to create and copy them takes three times as long.

    Args:
        topologies: by back end.
        token_after: returns the token of the page that starts after a volume.
    """
    page = csi_pb2.ListVolumesResponse(next_token=next_token)
    length, last = 0, ""
    for state in states:
        entry = page.entries.add()
        _fill(entry.volume, state.record, topologies.get(state.record.backend, EMPTY))
        entry.status.published_node_ids.extend(state.nodes)
        shown = entry.status.volume_condition
        shown.abnormal, shown.message = state.condition.abnormal, state.condition.message
        length += entry.ByteSize()
        if length > MAX_PAGE and last:
            del page.entries[-1]
            page.next_token = token_after(last)
            break
        last = state.record.id
    return page


def got_volume(state: VolumeState, topology: Mapping[str, str] = EMPTY) -> csi_pb2.ControllerGetVolumeResponse:
    status = csi_pb2.ControllerGetVolumeResponse.VolumeStatus(
        published_node_ids=state.nodes, volume_condition=condition(state.condition)
    )
    return csi_pb2.ControllerGetVolumeResponse(volume=volume(state.record, topology), status=status)


def condition(value: Condition) -> csi_pb2.VolumeCondition:
    return csi_pb2.VolumeCondition(abnormal=value.abnormal, message=value.message)


def snapshot(record: Snapshot) -> csi_pb2.Snapshot:
    return csi_pb2.Snapshot(
        size_bytes=to_bytes(record.size),
        snapshot_id=record.id,
        source_volume_id=record.volume_id,
        creation_time=timestamp(record.created_at),
        ready_to_use=record.status is Status.AVAILABLE,
        group_snapshot_id=record.group_snapshot_id,
    )


def group_snapshot(record: GroupSnapshot, members: Iterable[Snapshot]) -> csi_pb2.VolumeGroupSnapshot:
    shown = tuple(snapshot(member) for member in members)
    return csi_pb2.VolumeGroupSnapshot(
        group_snapshot_id=record.id,
        snapshots=shown,
        creation_time=timestamp(record.created_at),
        ready_to_use=record.status is Status.AVAILABLE and all(member.ready_to_use for member in shown),
    )


def capacity(answer: CapacityAnswer) -> csi_pb2.GetCapacityResponse:
    shown = csi_pb2.GetCapacityResponse(available_capacity=answer.available)
    if answer.maximum is not None:
        shown.maximum_volume_size.value = answer.maximum
    if answer.minimum is not None:
        shown.minimum_volume_size.value = answer.minimum
    return shown


def stats(value: NodeStats) -> csi_pb2.NodeGetVolumeStatsResponse:
    shown = csi_pb2.NodeGetVolumeStatsResponse(volume_condition=condition(value.condition))
    for line in value.usage:
        shown.usage.add(unit=_UNITS[line.unit], total=line.total, used=line.used, available=line.available)
    return shown


def timestamp(text: str) -> Timestamp:
    """The time of a record. Callers reject a snapshot without a time, so an unreadable one becomes the epoch."""
    shown = Timestamp()
    try:
        shown.FromDatetime(times.parse(text))
    except ValueError:
        return Timestamp()
    return shown
