"""CSI GroupController service: consistent snapshots of several volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from csi_cinderlib.csi import capabilities, responses
from csi_cinderlib.csi.requests import group as requests
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.model.answers import GroupSnapshotState


class Groups(Protocol):
    """Implemented by `provisioning.groups`."""

    def create(self, name: str, volume_ids: Sequence[str], parameters: Mapping[str, str]) -> GroupSnapshotState: ...
    def delete(self, group_snapshot_id: str, snapshot_ids: Sequence[str]) -> object: ...
    def get(self, group_snapshot_id: str, snapshot_ids: Sequence[str]) -> GroupSnapshotState: ...


class GroupController:
    """Group snapshots on the back ends."""

    SERVICE: ClassVar[str] = "GroupController"

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def GroupControllerGetCapabilities(
        self, _request: csi_pb2.GroupControllerGetCapabilitiesRequest
    ) -> csi_pb2.GroupControllerGetCapabilitiesResponse:
        answer = csi_pb2.GroupControllerGetCapabilitiesResponse()
        for kind in capabilities.GROUP:
            answer.capabilities.add(rpc=csi_pb2.GroupControllerServiceCapability.RPC(type=kind))
        return answer

    def CreateVolumeGroupSnapshot(
        self, request: csi_pb2.CreateVolumeGroupSnapshotRequest
    ) -> csi_pb2.CreateVolumeGroupSnapshotResponse:
        asked = requests.create(request)
        state = self._groups.create(asked.name, asked.volume_ids, asked.parameters)
        return csi_pb2.CreateVolumeGroupSnapshotResponse(
            group_snapshot=responses.group_snapshot(state.record, state.members)
        )

    def DeleteVolumeGroupSnapshot(
        self, request: csi_pb2.DeleteVolumeGroupSnapshotRequest
    ) -> csi_pb2.DeleteVolumeGroupSnapshotResponse:
        self._groups.delete(*requests.members(request))
        return csi_pb2.DeleteVolumeGroupSnapshotResponse()

    def GetVolumeGroupSnapshot(
        self, request: csi_pb2.GetVolumeGroupSnapshotRequest
    ) -> csi_pb2.GetVolumeGroupSnapshotResponse:
        state = self._groups.get(*requests.members(request))
        return csi_pb2.GetVolumeGroupSnapshotResponse(
            group_snapshot=responses.group_snapshot(state.record, state.members)
        )
