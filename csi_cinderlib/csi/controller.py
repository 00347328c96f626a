"""CSI Controller service: parse, act, respond. The logic is in `provisioning`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from csi_cinderlib.csi import capabilities, responses
from csi_cinderlib.csi.capabilities import CapabilityRefused
from csi_cinderlib.csi.requests import controller as requests
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.model.records import EMPTY

if TYPE_CHECKING:
    from csi_cinderlib.provisioning.attachments import Attachments
    from csi_cinderlib.provisioning.snapshots import Snapshots
    from csi_cinderlib.provisioning.volumes import Volumes

NO_TOPOLOGIES: Mapping[str, Mapping[str, str]] = {}


def always() -> bool:
    return True


class Controller:
    """Volumes and snapshots on the back ends.

    Args:
        topologies: segments from which a back end can be reached, by its name. A missing back end can be reached from everywhere.
        modifies: whether any back end may be able to modify volumes.
    """

    SERVICE: ClassVar[str] = "Controller"

    def __init__(
        self,
        volumes: Volumes,
        snapshots: Snapshots,
        attachments: Attachments,
        *,
        topologies: Mapping[str, Mapping[str, str]] = NO_TOPOLOGIES,
        modifies: Callable[[], bool] = always,
    ) -> None:
        self._volumes = volumes
        self._snapshots = snapshots
        self._attachments = attachments
        self._topologies = topologies
        self._modifies = modifies

    def CreateVolume(self, request: csi_pb2.CreateVolumeRequest) -> csi_pb2.CreateVolumeResponse:
        record = self._volumes.create(requests.create_volume(request))
        return csi_pb2.CreateVolumeResponse(volume=responses.volume(record, self._topology(record.backend)))

    def DeleteVolume(self, request: csi_pb2.DeleteVolumeRequest) -> csi_pb2.DeleteVolumeResponse:
        self._volumes.delete(requests.delete_volume(request))
        return csi_pb2.DeleteVolumeResponse()

    def ControllerPublishVolume(
        self, request: csi_pb2.ControllerPublishVolumeRequest
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        context = self._attachments.publish(requests.publish_volume(request))
        return csi_pb2.ControllerPublishVolumeResponse(publish_context=context)

    def ControllerUnpublishVolume(
        self, request: csi_pb2.ControllerUnpublishVolumeRequest
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        self._attachments.unpublish(*requests.unpublish_volume(request))
        return csi_pb2.ControllerUnpublishVolumeResponse()

    def ValidateVolumeCapabilities(
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        """An unsupported capability is not an error here, provided that the volume exists."""
        try:
            why_not = self._volumes.validate(requests.validate_capabilities(request))
        except CapabilityRefused as refused:
            self._volumes.get(request.volume_id)
            why_not = str(refused)
        if why_not:
            return csi_pb2.ValidateVolumeCapabilitiesResponse(message=why_not)
        return csi_pb2.ValidateVolumeCapabilitiesResponse(
            confirmed=csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
                volume_context=request.volume_context,
                volume_capabilities=request.volume_capabilities,
                parameters=request.parameters,
                mutable_parameters=request.mutable_parameters,
            )
        )

    def ListVolumes(self, request: csi_pb2.ListVolumesRequest) -> csi_pb2.ListVolumesResponse:
        asked = requests.list_volumes(request)
        page = self._volumes.list(asked.token, asked.limit)
        return responses.listed_volumes(
            page.records, dict(self._topologies), page.next, token_after=self._volumes.token_after
        )

    def GetCapacity(self, request: csi_pb2.GetCapacityRequest) -> csi_pb2.GetCapacityResponse:
        return responses.capacity(self._volumes.capacity(requests.get_capacity(request)))

    def ControllerGetCapabilities(
        self, _request: csi_pb2.ControllerGetCapabilitiesRequest
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        answer = csi_pb2.ControllerGetCapabilitiesResponse()
        for kind in capabilities.controller(modifies=self._modifies()):
            answer.capabilities.add(rpc=csi_pb2.ControllerServiceCapability.RPC(type=kind))
        return answer

    def CreateSnapshot(self, request: csi_pb2.CreateSnapshotRequest) -> csi_pb2.CreateSnapshotResponse:
        record = self._snapshots.create(requests.create_snapshot(request))
        return csi_pb2.CreateSnapshotResponse(snapshot=responses.snapshot(record))

    def DeleteSnapshot(self, request: csi_pb2.DeleteSnapshotRequest) -> csi_pb2.DeleteSnapshotResponse:
        self._snapshots.delete(requests.delete_snapshot(request))
        return csi_pb2.DeleteSnapshotResponse()

    def ListSnapshots(self, request: csi_pb2.ListSnapshotsRequest) -> csi_pb2.ListSnapshotsResponse:
        page = self._snapshots.list(requests.list_snapshots(request))
        entries = (csi_pb2.ListSnapshotsResponse.Entry(snapshot=responses.snapshot(record)) for record in page.records)
        return csi_pb2.ListSnapshotsResponse(entries=entries, next_token=page.next)

    def GetSnapshot(self, request: csi_pb2.GetSnapshotRequest) -> csi_pb2.GetSnapshotResponse:
        record = self._snapshots.get(requests.get_snapshot(request))
        return csi_pb2.GetSnapshotResponse(snapshot=responses.snapshot(record))

    def ControllerExpandVolume(
        self, request: csi_pb2.ControllerExpandVolumeRequest
    ) -> csi_pb2.ControllerExpandVolumeResponse:
        """Returns the actual size, not the requested one."""
        expanded = self._volumes.expand(requests.expand_volume(request))
        return csi_pb2.ControllerExpandVolumeResponse(
            capacity_bytes=expanded.size, node_expansion_required=expanded.node_expansion_required
        )

    def ControllerModifyVolume(
        self, request: csi_pb2.ControllerModifyVolumeRequest
    ) -> csi_pb2.ControllerModifyVolumeResponse:
        self._volumes.modify(requests.modify_volume(request))
        return csi_pb2.ControllerModifyVolumeResponse()

    def ControllerGetVolume(self, request: csi_pb2.ControllerGetVolumeRequest) -> csi_pb2.ControllerGetVolumeResponse:
        state = self._volumes.get(requests.get_volume(request))
        return responses.got_volume(state, self._topology(state.record.backend))

    def _topology(self, backend: str) -> Mapping[str, str]:
        return self._topologies.get(backend, EMPTY)
