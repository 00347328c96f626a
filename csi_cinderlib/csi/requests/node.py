"""Requests of the Node service."""

from __future__ import annotations

from dataclasses import dataclass

from csi_cinderlib.csi.capabilities import capability
from csi_cinderlib.csi.requests import fields
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import InvalidRequest, PreconditionFailed
from csi_cinderlib.model import requests
from csi_cinderlib.model.capability import Capability


@dataclass(frozen=True, slots=True)
class Where:
    """A volume and its path; `staging_path` may be ""."""

    volume_id: str
    path: str
    staging_path: str = ""


def stage(request: csi_pb2.NodeStageVolumeRequest) -> requests.StageVolume:
    return requests.StageVolume(
        volume_id=fields.required(request.volume_id, "volume_id"),
        staging_path=fields.path(request.staging_target_path, "staging_target_path"),
        capability=_capability(request),
        publish_context=fields.mapping(request.publish_context, "publish_context"),
        volume_context=fields.mapping(request.volume_context, "volume_context"),
        secrets=fields.mapping(request.secrets, "secrets"),
    )


def unstage(request: csi_pb2.NodeUnstageVolumeRequest) -> Where:
    return Where(
        fields.required(request.volume_id, "volume_id"),
        fields.path(request.staging_target_path, "staging_target_path"),
    )


def publish(request: csi_pb2.NodePublishVolumeRequest) -> requests.NodePublishVolume:
    """Raises PreconditionFailed if the staging path is missing (spec: NodePublishVolume Errors, "Exceeds capabilities")."""
    volume_id = fields.required(request.volume_id, "volume_id")
    target = fields.path(request.target_path, "target_path")
    wanted = _capability(request)
    if not request.staging_target_path:
        raise PreconditionFailed(
            "staging_target_path: must not be empty; this driver requires NodeStageVolume before NodePublishVolume"
        )
    staging = fields.path(request.staging_target_path, "staging_target_path")
    if staging.rstrip("/") == target.rstrip("/"):
        raise InvalidRequest("target_path", "must differ from staging_target_path")
    return requests.NodePublishVolume(
        volume_id=volume_id,
        staging_path=staging,
        target_path=target,
        capability=wanted,
        read_only=request.readonly,
        publish_context=fields.mapping(request.publish_context, "publish_context"),
        volume_context=fields.mapping(request.volume_context, "volume_context"),
        secrets=fields.mapping(request.secrets, "secrets"),
    )


def unpublish(request: csi_pb2.NodeUnpublishVolumeRequest) -> Where:
    return Where(fields.required(request.volume_id, "volume_id"), fields.path(request.target_path, "target_path"))


def stats(request: csi_pb2.NodeGetVolumeStatsRequest) -> Where:
    return Where(
        fields.required(request.volume_id, "volume_id"),
        fields.located(request.volume_path, "volume_path"),
        _staging_if_given(request),
    )


def expand(request: csi_pb2.NodeExpandVolumeRequest) -> requests.NodeExpandVolume:
    fields.mapping(request.secrets, "secrets")
    return requests.NodeExpandVolume(
        volume_id=fields.required(request.volume_id, "volume_id"),
        volume_path=fields.located(request.volume_path, "volume_path"),
        staging_path=_staging_if_given(request),
        size=fields.size_range(request.capacity_range),
        capability=capability(request.volume_capability) if request.HasField("volume_capability") else None,
    )


def _staging_if_given(request: csi_pb2.NodeGetVolumeStatsRequest | csi_pb2.NodeExpandVolumeRequest) -> str:
    return fields.path(request.staging_target_path, "staging_target_path") if request.staging_target_path else ""


def _capability(request: csi_pb2.NodeStageVolumeRequest | csi_pb2.NodePublishVolumeRequest) -> Capability:
    if not request.HasField("volume_capability"):
        raise InvalidRequest("volume_capability", "must not be empty")
    return capability(request.volume_capability)
