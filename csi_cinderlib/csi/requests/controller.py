"""Requests of the Controller service. Checks required fields first, then their form, but not whether objects exist."""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.csi.capabilities import capabilities, capability
from csi_cinderlib.csi.requests import fields, parameters
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import requests
from csi_cinderlib.model.nodes import MAX_NODE_ID


@dataclass(frozen=True, slots=True)
class List:
    """ListVolumes: the starting token and the limit of the caller (0: no limit)."""

    token: str
    limit: int


def create_volume(request: csi_pb2.CreateVolumeRequest) -> requests.CreateVolume:
    name, wanted = fields.name(request.name), capabilities(request.volume_capabilities)
    return requests.CreateVolume(
        name=name,
        capabilities=wanted,
        size=fields.size_range(request.capacity_range),
        parameters=parameters.storage_class(request.parameters, capabilities=wanted),
        mutable_parameters=parameters.mutable(request.mutable_parameters),
        source=fields.source(request.volume_content_source) if request.HasField("volume_content_source") else None,
        topology=fields.topology(request.accessibility_requirements),
        secrets=fields.mapping(request.secrets, "secrets"),
    )


def delete_volume(request: csi_pb2.DeleteVolumeRequest) -> str:
    fields.mapping(request.secrets, "secrets")
    return fields.required(request.volume_id, "volume_id")


def publish_volume(request: csi_pb2.ControllerPublishVolumeRequest) -> requests.PublishVolume:
    volume_id = fields.required(request.volume_id, "volume_id")
    node_id = fields.required(request.node_id, "node_id", limit=MAX_NODE_ID)
    _need(request.HasField("volume_capability"), "volume_capability")
    fields.mapping(request.secrets, "secrets")
    return requests.PublishVolume(
        volume_id=volume_id,
        node_id=node_id,
        capability=capability(request.volume_capability),
        read_only=request.readonly,
        volume_context=fields.mapping(request.volume_context, "volume_context"),
    )


def unpublish_volume(request: csi_pb2.ControllerUnpublishVolumeRequest) -> tuple[str, str]:
    """Volume id and node id; an empty node id means every node."""
    fields.mapping(request.secrets, "secrets")
    return (
        fields.required(request.volume_id, "volume_id"),
        fields.text(request.node_id, "node_id", limit=MAX_NODE_ID),
    )


def validate_capabilities(request: csi_pb2.ValidateVolumeCapabilitiesRequest) -> requests.ValidateCapabilities:
    volume_id = fields.required(request.volume_id, "volume_id")
    _need(bool(request.volume_capabilities), "volume_capabilities")
    fields.mapping(request.secrets, "secrets")
    return requests.ValidateCapabilities(
        volume_id=volume_id,
        volume_context=fields.mapping(request.volume_context, "volume_context"),
        parameters=parameters.storage_class(request.parameters).given,
        mutable_parameters=parameters.mutable(request.mutable_parameters),
        capabilities=capabilities(request.volume_capabilities),
    )


def list_volumes(request: csi_pb2.ListVolumesRequest) -> List:
    return List(request.starting_token, fields.count(request.max_entries, "max_entries"))


def get_capacity(request: csi_pb2.GetCapacityRequest) -> requests.GetCapacity:
    wanted = capabilities(request.volume_capabilities) if request.volume_capabilities else ()
    where = request.accessible_topology if request.accessible_topology.segments else None
    return requests.GetCapacity(
        capabilities=wanted,
        parameters=parameters.storage_class(request.parameters, capabilities=wanted),
        segments=fields.segments(where, "accessible_topology") if where else {},
    )


def create_snapshot(request: csi_pb2.CreateSnapshotRequest) -> requests.CreateSnapshot:
    name = fields.name(request.name)
    volume_id = fields.required(request.source_volume_id, "source_volume_id")
    given, labels = parameters.snapshot_class(request.parameters)
    fields.mapping(request.secrets, "secrets")
    return requests.CreateSnapshot(name=name, volume_id=volume_id, parameters=given, labels=labels)


def delete_snapshot(request: csi_pb2.DeleteSnapshotRequest) -> str:
    fields.mapping(request.secrets, "secrets")
    return fields.required(request.snapshot_id, "snapshot_id")


def list_snapshots(request: csi_pb2.ListSnapshotsRequest) -> requests.ListSnapshots:
    fields.mapping(request.secrets, "secrets")
    return requests.ListSnapshots(
        snapshot_id=fields.text(request.snapshot_id, "snapshot_id"),
        volume_id=fields.text(request.source_volume_id, "source_volume_id"),
        token=request.starting_token,
        limit=fields.count(request.max_entries, "max_entries"),
    )


def get_snapshot(request: csi_pb2.GetSnapshotRequest) -> str:
    fields.mapping(request.secrets, "secrets")
    return fields.required(request.snapshot_id, "snapshot_id")


def expand_volume(request: csi_pb2.ControllerExpandVolumeRequest) -> requests.ExpandVolume:
    volume_id = fields.required(request.volume_id, "volume_id")
    size = fields.size_range(request.capacity_range)
    _need(bool(size.required or size.limit), "capacity_range")
    fields.mapping(request.secrets, "secrets")
    wanted = request.volume_capability if request.HasField("volume_capability") else None
    return requests.ExpandVolume(volume_id=volume_id, size=size, capability=capability(wanted) if wanted else None)


def modify_volume(request: csi_pb2.ControllerModifyVolumeRequest) -> requests.ModifyVolume:
    volume_id = fields.required(request.volume_id, "volume_id")
    _need(bool(request.mutable_parameters), "mutable_parameters")
    fields.mapping(request.secrets, "secrets")
    return requests.ModifyVolume(volume_id=volume_id, mutable_parameters=parameters.mutable(request.mutable_parameters))


def get_volume(request: csi_pb2.ControllerGetVolumeRequest) -> str:
    return fields.required(request.volume_id, "volume_id")


def _need(given: bool, field: str) -> None:
    if not given:
        raise InvalidRequest(field, "must not be empty")
