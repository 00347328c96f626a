"""Requests of the GroupController service."""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.csi.requests import fields, parameters
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class CreateGroupSnapshot:
    """CreateVolumeGroupSnapshot."""

    name: str
    volume_ids: tuple[str, ...]
    parameters: dict[str, str]


def create(request: csi_pb2.CreateVolumeGroupSnapshotRequest) -> CreateGroupSnapshot:
    name = fields.name(request.name)
    if not request.source_volume_ids:
        raise InvalidRequest("source_volume_ids", "must not be empty")
    volume_ids = fields.ids(request.source_volume_ids, "source_volume_ids")
    given, _labels = parameters.snapshot_class(request.parameters)
    fields.mapping(request.secrets, "secrets")
    return CreateGroupSnapshot(name, volume_ids, given)


def members(
    request: csi_pb2.DeleteVolumeGroupSnapshotRequest | csi_pb2.GetVolumeGroupSnapshotRequest,
) -> tuple[str, tuple[str, ...]]:
    """The id of a group snapshot, and its members according to the caller.

    The specification requires the list, its conformance suite does not. An empty list is not compared.
    """
    group_snapshot_id = fields.required(request.group_snapshot_id, "group_snapshot_id")
    fields.mapping(request.secrets, "secrets")
    return group_snapshot_id, fields.ids(request.snapshot_ids, "snapshot_ids")
