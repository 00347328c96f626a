"""A client that calls in the wrong order, repeats itself, and asks for what must be refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from csi_cinderlib.csi.v1 import csi_pb2
from tests.torture.calls import Caller, brief, capability, create_request, words
from tests.torture.truth import PUBLISHED, Volume

FEW_SECONDS = 5.0


class Hostile(Caller):
    """Its calls on a volume are made while the volume's own client waits, so the right answer is known."""

    def act(self, name: str, pick: float) -> None:
        """An answer OK to a call that must be refused is noted as a finding."""
        if name in _ANYTIME:
            self._try(name, *_ANYTIME[name](), must_be_refused=name == "create without capabilities")
            return
        volumes = [volume for volume in self.bed.truth.existing() if volume.level == PUBLISHED]
        if not volumes:
            return
        volume = volumes[int(pick * len(volumes))]
        if not volume.guard.acquire(blocking=False):
            return
        try:
            if volume.level == PUBLISHED and volume.is_settled:
                self._try(name, *_ON_PUBLISHED[name](self, volume), must_be_refused=True)
        finally:
            volume.guard.release()

    def _try(self, name: str, method: str, request: Any, *, must_be_refused: bool) -> None:
        try:
            self.once(method, request, FEW_SECONDS)
        except grpc.RpcError as error:
            self.bed.truth.tell(f"hostile: {name}: {method} {brief(request)}: {words(error)}", "hostile calls refused")
            return
        if must_be_refused:
            self.bed.truth.find(f"{name}: {method} {brief(request)} was answered OK")


def _delete_attached(_: Hostile, volume: Volume) -> tuple[str, Any]:
    return "DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume.id)


def _unstage_published(hostile: Hostile, volume: Volume) -> tuple[str, Any]:
    staging = str(hostile.bed.staging(volume.name))
    return "NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=volume.id, staging_target_path=staging)


def _stage_elsewhere(hostile: Hostile, volume: Volume) -> tuple[str, Any]:
    elsewhere = hostile.bed.root / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=volume.id, staging_target_path=str(elsewhere), volume_capability=capability(volume.kind)
    )
    return "NodeStageVolume", request


def _create_larger(_: Hostile, volume: Volume) -> tuple[str, Any]:
    return "CreateVolume", create_request(volume, volume.size + 5)


_ON_PUBLISHED: Mapping[str, Callable[[Hostile, Volume], tuple[str, Any]]] = {
    "delete an attached volume": _delete_attached,
    "unstage a published volume": _unstage_published,
    "stage at a second path": _stage_elsewhere,
    "create the same name with another size": _create_larger,
}
_ANYTIME: Mapping[str, Callable[[], tuple[str, Any]]] = {
    "delete an unknown volume": lambda: ("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=str(uuid.uuid4()))),
    "unpublish an unknown volume": lambda: (
        "ControllerUnpublishVolume",
        csi_pb2.ControllerUnpublishVolumeRequest(volume_id=str(uuid.uuid4())),
    ),
    "create without capabilities": lambda: ("CreateVolume", csi_pb2.CreateVolumeRequest(name="nothing")),
    "list volumes": lambda: ("ListVolumes", csi_pb2.ListVolumesRequest()),
    "ask for the capacity": lambda: ("GetCapacity", csi_pb2.GetCapacityRequest()),
}
