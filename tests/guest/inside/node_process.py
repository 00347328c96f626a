"""The node as a process of its own, called over its socket, and killed where a test says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host.processes import Process, is_over
from csi_cinderlib.model.connection import Connection
from csi_cinderlib.sealing import Sealer
from tests.guest.inside.shell import wait_until
from tests.support.repeating import repeated

_WRITER = csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER)
CAPABILITY = csi_pb2.VolumeCapability(access_mode=_WRITER, mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"))


class NodeProcess:
    """`csi-cinderlib serve --mode node` on a folder; `start` it again after it died."""

    def __init__(self, folder: Path, *, config: str = "") -> None:
        self.folder = folder
        self._state = folder / "state"
        self._state.mkdir(parents=True)
        self._arguments = ["--mode", "node"]
        if config:
            (folder / "config.yaml").write_text(config)
            self._arguments += ["--config", str(folder / "config.yaml")]
        self._process: DriverProcess | None = None
        self._killed: list[DriverProcess] = []

    def start(self, fault_point: str = "", **environment: str) -> None:
        """Wait until it is ready. With a fault point it dies by SIGKILL there."""
        if fault_point:
            environment["CINDERLIB_FAULT_POINT"] = fault_point
        self._process = DriverProcess(self._state, self._arguments, environment)
        self._process.wait_until_ready()

    def staging(self, volume_id: str) -> Path:
        return self._made("staging", volume_id)

    def target(self, volume_id: str) -> Path:
        return self._made("pods", volume_id)

    def _made(self, kind: str, volume_id: str) -> Path:
        """A path whose directory is there, as the kubelet makes it."""
        path = self.folder / kind / volume_id
        path.parent.mkdir(exist_ok=True)
        return path

    @property
    def stub(self) -> csi_pb2_grpc.NodeStub:
        assert self._process is not None
        return csi_pb2_grpc.NodeStub(self._process.channel)

    def stage(self, connection: Connection, *, timeout: float = 120) -> None:
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=connection.volume_id,
            publish_context={"connection": Sealer().seal(connection.to_bytes())},
            staging_target_path=str(self.staging(connection.volume_id)),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self.stub.NodeStageVolume(request, timeout=timeout))

    def publish(self, volume_id: str) -> None:
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume_id,
            staging_target_path=str(self.staging(volume_id)),
            target_path=str(self.target(volume_id)),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self.stub.NodePublishVolume(request, timeout=60))

    def expand(self, volume_id: str, size: int) -> None:
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=volume_id,
            volume_path=str(self.target(volume_id)),
            staging_target_path=str(self.staging(volume_id)),
            capacity_range=csi_pb2.CapacityRange(required_bytes=size),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self.stub.NodeExpandVolume(request, timeout=60))

    def problem(self, volume_id: str) -> str:
        """Why it is abnormal where it is staged; "" when it is not."""
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=str(self.staging(volume_id)))
        answer = self.stub.NodeGetVolumeStats(request, timeout=60)
        assert answer.usage, "the kubelet takes no notice of a condition without"
        return str(answer.volume_condition.message) if answer.volume_condition.abnormal else ""

    def unpublish(self, volume_id: str) -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(self.target(volume_id)))
        repeated(lambda: self.stub.NodeUnpublishVolume(request, timeout=60))

    def unstage(self, volume_id: str) -> None:
        repeated(lambda: self.unstage_once(volume_id, timeout=120))

    def unstage_once(self, volume_id: str, *, timeout: float) -> None:
        request = csi_pb2.NodeUnstageVolumeRequest(
            volume_id=volume_id, staging_target_path=str(self.staging(volume_id))
        )
        self.stub.NodeUnstageVolume(request, timeout=timeout)

    def take_down(self) -> None:
        """All volumes, as the kubelet does."""
        for path in (self.folder / "staging").glob("*"):
            self.unpublish(path.name)
            self.unstage(path.name)

    def died(self) -> bool:
        """Whether it was killed by its own fault point; it is given a moment to go."""
        assert self._process is not None
        return self._process.wait(60) == -signal.SIGKILL

    def kill(self) -> None:
        """SIGKILL. The kernel keeps of it what waits for a device, until that answers."""
        assert self._process is not None
        self._process.channel.close()
        self._killed.append(self._process)
        killed = Process(self._process.pid)
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: is_over(killed), "the end of the node's process")

    def stop(self) -> None:
        """Once all that it uses answers."""
        if self._process is not None:
            self._process.stop()
        for process in self._killed:
            process.wait(60)


def lost(call: grpc.RpcError) -> bool:
    """The process went away under the call."""
    return bool(call.code() is grpc.StatusCode.UNAVAILABLE)
