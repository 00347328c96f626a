"""Deletion of everything that requests made, by the calls with which a cluster does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from tests.fuzz.bed import Bed
from tests.fuzz.world import World

SECONDS = 60.0
"""For calls that nobody waits for any more to end: until then they hold their volume."""


class Tidying:
    """Takes everything down."""

    def __init__(self, bed: Bed, world: World) -> None:
        self._bed = bed
        self._world = world
        self._node = csi_pb2_grpc.NodeStub(bed.driver.channel)
        self._controller = csi_pb2_grpc.ControllerStub(bed.driver.channel)
        self._groups = csi_pb2_grpc.GroupControllerStub(bed.driver.channel)

    def tidy(self) -> list[str]:
        """Unpublish, unstage, detach and delete all there is; what could not be."""
        problems = [
            *self._try(list(self._of_node())),
            *self._try(self._detachments()),
            *self._try(self._groups_deletions()),
            *self._try(self._deletions()),
        ]
        self._world.forget()
        return problems

    def _of_node(self) -> Iterator[tuple[Any, Any]]:
        """A volume that is not shown at a target is not taken away from there: so all may be asked for all."""
        for record in self._bed.stage_records():
            for target in self._bed.mounted():
                if target != record.staging_path:
                    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=record.volume_id, target_path=target)
                    yield self._node.NodeUnpublishVolume, request
            yield (
                self._node.NodeUnstageVolume,
                csi_pb2.NodeUnstageVolumeRequest(volume_id=record.volume_id, staging_target_path=record.staging_path),
            )

    def _detachments(self) -> Iterator[tuple[Any, Any]]:
        for entry in self._volumes():
            yield (
                self._controller.ControllerUnpublishVolume,
                csi_pb2.ControllerUnpublishVolumeRequest(volume_id=entry.volume.volume_id),
            )

    def _groups_deletions(self) -> Iterator[tuple[Any, Any]]:
        ids = {entry.snapshot.group_snapshot_id for entry in self._snapshots()} - {""}
        for group in ids:
            yield (
                self._groups.DeleteVolumeGroupSnapshot,
                csi_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=group),
            )

    def _deletions(self) -> Iterator[tuple[Any, Any]]:
        for entry in self._snapshots():
            yield self._controller.DeleteSnapshot, csi_pb2.DeleteSnapshotRequest(snapshot_id=entry.snapshot.snapshot_id)
        for entry in self._volumes():
            yield self._controller.DeleteVolume, csi_pb2.DeleteVolumeRequest(volume_id=entry.volume.volume_id)

    def _volumes(self) -> Iterable[Any]:
        return list(self._controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=SECONDS).entries)

    def _snapshots(self) -> Iterable[Any]:
        return list(self._controller.ListSnapshots(csi_pb2.ListSnapshotsRequest(), timeout=SECONDS).entries)

    def _try(self, calls: Iterable[tuple[Any, Any]]) -> list[str]:
        return [problem for call, request in calls if (problem := _persist(call, request))]


def _persist(call: Callable[..., Any], request: Any) -> str:
    """Repeat the call while another one holds the object; "" when it is done."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            call(request, timeout=SECONDS)
            return ""
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED or time.monotonic() > deadline:
                return f"cannot tidy up: {type(request).__name__}: {error.code().name}: {error.details()}"
        time.sleep(0.05)
