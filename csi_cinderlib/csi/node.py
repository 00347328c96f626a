"""CSI Node service: parse, act, respond. The logic is in `node`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from csi_cinderlib.csi import capabilities, responses
from csi_cinderlib.csi.requests import node as requests
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.model.records import EMPTY
from csi_cinderlib.model.requests import NodeExpandVolume, NodePublishVolume, NodeStats, StageVolume
from csi_cinderlib.model.size import Bytes


class Staging(Protocol):
    """Attaches a device and mounts it once per volume."""

    def stage(self, request: StageVolume) -> object: ...
    def unstage(self, volume_id: str, staging_path: str) -> object: ...


class Publishing(Protocol):
    """Publishes a staged volume at a target path."""

    def publish(self, request: NodePublishVolume) -> object: ...
    def unpublish(self, volume_id: str, target_path: str) -> object: ...


class Expansion(Protocol):
    """Makes the new size of a volume visible on this node."""

    def expand(self, request: NodeExpandVolume) -> Bytes: ...


class Statistics(Protocol):
    """Reports the usage of a volume."""

    def stats(self, volume_id: str, volume_path: str, staging_path: str) -> NodeStats: ...


class Node:
    """Volumes on this machine.

    Args:
        node_id: id of this node for the controller.
        max_volumes: limit of volumes; 0 leaves it to the container orchestrator.
        topology: this node's segments.
    """

    SERVICE: ClassVar[str] = "Node"

    def __init__(
        self,
        staging: Staging,
        publishing: Publishing,
        expansion: Expansion,
        statistics: Statistics,
        *,
        node_id: str,
        max_volumes: int = 0,
        topology: Mapping[str, str] = EMPTY,
    ) -> None:
        self._staging = staging
        self._publishing = publishing
        self._expansion = expansion
        self._statistics = statistics
        self._node_id = node_id
        self._max_volumes = max_volumes
        self._topology = topology

    def NodeStageVolume(self, request: csi_pb2.NodeStageVolumeRequest) -> csi_pb2.NodeStageVolumeResponse:
        self._staging.stage(requests.stage(request))
        return csi_pb2.NodeStageVolumeResponse()

    def NodeUnstageVolume(self, request: csi_pb2.NodeUnstageVolumeRequest) -> csi_pb2.NodeUnstageVolumeResponse:
        where = requests.unstage(request)
        self._staging.unstage(where.volume_id, where.path)
        return csi_pb2.NodeUnstageVolumeResponse()

    def NodePublishVolume(self, request: csi_pb2.NodePublishVolumeRequest) -> csi_pb2.NodePublishVolumeResponse:
        self._publishing.publish(requests.publish(request))
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(self, request: csi_pb2.NodeUnpublishVolumeRequest) -> csi_pb2.NodeUnpublishVolumeResponse:
        where = requests.unpublish(request)
        self._publishing.unpublish(where.volume_id, where.path)
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(self, request: csi_pb2.NodeGetVolumeStatsRequest) -> csi_pb2.NodeGetVolumeStatsResponse:
        where = requests.stats(request)
        return responses.stats(self._statistics.stats(where.volume_id, where.path, where.staging_path))

    def NodeExpandVolume(self, request: csi_pb2.NodeExpandVolumeRequest) -> csi_pb2.NodeExpandVolumeResponse:
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=self._expansion.expand(requests.expand(request)))

    def NodeGetCapabilities(self, _request: csi_pb2.NodeGetCapabilitiesRequest) -> csi_pb2.NodeGetCapabilitiesResponse:
        answer = csi_pb2.NodeGetCapabilitiesResponse()
        for kind in capabilities.NODE:
            answer.capabilities.add(rpc=csi_pb2.NodeServiceCapability.RPC(type=kind))
        return answer

    def NodeGetInfo(self, _request: csi_pb2.NodeGetInfoRequest) -> csi_pb2.NodeGetInfoResponse:
        answer = csi_pb2.NodeGetInfoResponse(node_id=self._node_id, max_volumes_per_node=self._max_volumes)
        if self._topology:
            answer.accessible_topology.segments.update(self._topology)
        return answer
