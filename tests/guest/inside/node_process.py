"""The node as a process of its own, called over its socket, and killed where a test says."""

from __future__ import annotations

import signal
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.sealing import Sealer
from tests.support.repeating import repeated

_WRITER = csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER)
CAPABILITY = csi_pb2.VolumeCapability(access_mode=_WRITER, mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"))


class NodeProcess:
    """`csi-cinderlib serve --mode node` on a folder; `start` it again after it died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staging = folder / "staging"
        self.target = folder / "pods" / "volume"
        self._state = folder / "state"
        self._state.mkdir(parents=True)
        self.target.parent.mkdir(parents=True)
        self.staging.mkdir()
        self._process: DriverProcess | None = None

    def start(self, fault_point: str = "", **environment: str) -> None:
        """Wait until it is ready. With a fault point it dies by SIGKILL there."""
        if fault_point:
            environment["CINDERLIB_FAULT_POINT"] = fault_point
        self._process = DriverProcess(self._state, ("--mode", "node"), environment)
        self._process.wait_until_ready()

    @property
    def _stub(self) -> csi_pb2_grpc.NodeStub:
        assert self._process is not None
        return csi_pb2_grpc.NodeStub(self._process.channel)

    def stage(self, connection: Connection) -> None:
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=connection.volume_id,
            publish_context={"connection": Sealer().seal(connection.to_bytes())},
            staging_target_path=str(self.staging),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self._stub.NodeStageVolume(request, timeout=120))

    def publish(self, connection: Connection) -> None:
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=connection.volume_id,
            staging_target_path=str(self.staging),
            target_path=str(self.target),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self._stub.NodePublishVolume(request, timeout=60))

    def expand(self, connection: Connection, size: int) -> None:
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=connection.volume_id,
            volume_path=str(self.target),
            staging_target_path=str(self.staging),
            capacity_range=csi_pb2.CapacityRange(required_bytes=size),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self._stub.NodeExpandVolume(request, timeout=60))

    def unpublish(self, volume_id: str) -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(self.target))
        repeated(lambda: self._stub.NodeUnpublishVolume(request, timeout=60))

    def unstage(self, volume_id: str) -> None:
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(self.staging))
        repeated(lambda: self._stub.NodeUnstageVolume(request, timeout=120))

    def died(self) -> bool:
        """Whether it was killed by its own fault point; it is given a moment to go."""
        assert self._process is not None
        return self._process.wait(20) == -signal.SIGKILL

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()


def lost(call: grpc.RpcError) -> bool:
    """The process went away under the call."""
    return bool(call.code() is grpc.StatusCode.UNAVAILABLE)
