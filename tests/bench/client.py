"""A driver to measure, and the calls that are measured."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from tests.support.processes import descendants

GIB = 2**30
NOTHING = "backends: {nothing: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_capacity_gb: infinite}}}\nlog: {level: warning}\n"
REPEAT_SECONDS = 1.0
"""The provisioner's first pause before it repeats a refused call."""
PATIENCE = 120.0
RETRIED = {grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE}
LOOP_FILES = "log: {level: warning}\n"
NODE = LOOP_FILES + "local_paths: [%s]\n"
"""Of a node whose controller keeps its files in that directory."""
_MODE = csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER)
BLOCK = csi_pb2.VolumeCapability(access_mode=_MODE, block=csi_pb2.VolumeCapability.BlockVolume())
EXT4 = csi_pb2.VolumeCapability(access_mode=_MODE, mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"))


@contextmanager
def running(directory: Path, *arguments: str, config: str = LOOP_FILES, ready: bool = True) -> Iterator[DriverProcess]:
    """A driver that is ready, or has just been started."""
    directory.mkdir(exist_ok=True)
    (directory / "config.yaml").write_text(config)
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    driver = DriverProcess(directory, (*arguments, "--config", str(directory / "config.yaml")), environment)
    try:
        if ready:
            driver.wait_until_ready()
        yield driver
    finally:
        driver.stop()


def resident(driver: DriverProcess) -> float:
    """MB of physical memory of the process and those below it, what they share counted once (the sum of PSS)."""
    return sum(_proportional(pid) for pid in (driver.pid, *descendants(driver.pid))) / 1024


def cpu_seconds(driver: DriverProcess) -> float:
    """Processor time, user and system, that the process and those below it have used, with those that have ended."""
    return sum(_ticks(pid) for pid in (driver.pid, *descendants(driver.pid))) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    """Its own ones and those of its children that were waited for (proc_pid_stat(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:15]))


def _proportional(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _creation(name: str, capability: csi_pb2.VolumeCapability, backend: str) -> csi_pb2.CreateVolumeRequest:
    return csi_pb2.CreateVolumeRequest(
        name=name,
        capacity_range=csi_pb2.CapacityRange(required_bytes=GIB),
        volume_capabilities=[capability],
        parameters={"backend": backend} if backend else {},
    )


class Client:
    """Calls of one orchestrator and one kubelet."""

    def __init__(
        self, driver: DriverProcess, node: DriverProcess | None = None, *, channel: grpc.Channel | None = None
    ) -> None:
        self._directory = driver.state_dir
        self.controller = csi_pb2_grpc.ControllerStub(channel or driver.channel)
        self.identity = csi_pb2_grpc.IdentityStub(driver.channel)
        self.node = csi_pb2_grpc.NodeStub((node or driver).channel)

    def create(self, name: str, capability: csi_pb2.VolumeCapability = BLOCK, *, backend: str = "") -> str:
        return self.controller.CreateVolume(_creation(name, capability, backend)).volume.volume_id

    def create_patiently(self, name: str, *, pause: float = REPEAT_SECONDS) -> str:
        """As the provisioner does: refused calls are repeated."""
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                return self.create(name)
            except grpc.RpcError as error:
                if error.code() not in RETRIED or time.monotonic() > ends:
                    raise
            time.sleep(pause)

    def begin_creation(self, name: str, *, backend: str) -> grpc.CallFuture[csi_pb2.CreateVolumeResponse]:
        """Without waiting for the answer."""
        return self.controller.CreateVolume.future(_creation(name, BLOCK, backend))

    def delete(self, volume_id: str) -> None:
        self.controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id))

    def publish(self, volume_id: str, node_id: str, capability: csi_pb2.VolumeCapability = BLOCK) -> Mapping[str, str]:
        request = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume_id, node_id=node_id, volume_capability=capability
        )
        return self.controller.ControllerPublishVolume(request).publish_context

    def attach(self, volume_id: str, capability: csi_pb2.VolumeCapability, node_id: str) -> None:
        staging, target = self._paths(volume_id)
        staging.mkdir(parents=True)
        target.parent.mkdir(parents=True)
        context = self.publish(volume_id, node_id, capability)
        self.node.NodeStageVolume(
            csi_pb2.NodeStageVolumeRequest(
                volume_id=volume_id,
                publish_context=context,
                staging_target_path=str(staging),
                volume_capability=capability,
            )
        )
        self.node.NodePublishVolume(
            csi_pb2.NodePublishVolumeRequest(
                volume_id=volume_id,
                publish_context=context,
                staging_target_path=str(staging),
                target_path=str(target),
                volume_capability=capability,
            )
        )

    def detach(self, volume_id: str, node_id: str) -> None:
        staging, target = self._paths(volume_id)
        self.node.NodeUnpublishVolume(csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target)))
        self.node.NodeUnstageVolume(
            csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(staging))
        )
        self.controller.ControllerUnpublishVolume(
            csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node_id)
        )

    def node_id(self) -> str:
        return self.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest()).node_id

    def life(self, name: str, capability: csi_pb2.VolumeCapability, node_id: str) -> None:
        """Create, publish, stage, mount, and all of it back."""
        volume_id = self.create(name, capability)
        self.attach(volume_id, capability, node_id)
        self.detach(volume_id, node_id)
        self.delete(volume_id)

    def page(self, limit: int, token: str = "") -> csi_pb2.ListVolumesResponse:
        return self.controller.ListVolumes(csi_pb2.ListVolumesRequest(max_entries=limit, starting_token=token))

    def _paths(self, volume_id: str) -> tuple[Path, Path]:
        return self._directory / "staging" / volume_id, self._directory / "pods" / volume_id / "volume"


def creators(socket: str, callers: int, seconds: float, started: float) -> int:
    """In a process of its own: create volumes with so many threads until the time is over; how many."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        create = csi_pb2_grpc.ControllerStub(channel).CreateVolume

        def work(number: int) -> int:
            count = 0
            while time.time() < started + seconds:
                create(_creation(f"load-{os.getpid()}-{number}-{count}", BLOCK, ""))
                count += 1
            return count

        time.sleep(max(0.0, started - time.time()))
        with ThreadPoolExecutor(callers) as pool:
            return sum(pool.map(work, range(callers)))
