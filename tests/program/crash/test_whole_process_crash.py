"""The whole program is killed in the middle of a call, started again, and asked again over its socket: the volume lives on."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from tests.support.repeating import repeated, until

pytestmark = pytest.mark.root

GIB = 1024**3
WORDS = b"still here\n"
POINTS = (
    "create-volume.record-written",
    "create-volume.driver-done",
    "publish.exported",
    "publish.sealed",
    "stage.connected",
    "stage.mkfs-done",
    "stage.mounted",
    "node-publish.bound",
    "create-snapshot.driver-done",
    "modify.record-written",
    "modify.driver-done",
    "expand.driver-done",
    "node-unpublish.unmounted",
    "unstage.unmounted",
    "unstage.disconnected",
    "unpublish.terminated",
    "delete-volume.driver-done",
    "delete-snapshot.driver-done",
)


IN_DRIVERS = (
    "driver.create_volume.done",
    "driver.create_volume_from_snapshot.done",
    "driver.create_snapshot.done",
    "driver.initialize_connection.done",
    "driver.terminate_connection.done",
    "driver.extend_volume.done",
    "driver.retype.done",
    "driver.delete_volume.done",
    "driver.delete_snapshot.done",
)
"""Where a driver has done its work, and nobody knows yet. The driver for files has nothing to export."""
OF_DRIVERS = (
    *IN_DRIVERS,
    "create-volume.record-written",
    "create-volume.driver-done",
    "publish.record-written",
    "publish.exported",
    "publish.connected",
    "create-snapshot.driver-done",
    "modify.record-written",
    "modify.driver-done",
    "expand.record-written",
    "expand.driver-done",
    "unpublish.terminated",
    "delete-volume.record-written",
    "delete-volume.driver-done",
    "delete-snapshot.driver-done",
    "delete-snapshot.record-removed",
)
"""Those at which a driver's process may end alone: in the middle of its work, or while nobody asks for any."""


class Program:
    """The program, started again whenever it dies; a call that it died in is repeated, as sidecars and the kubelet do."""

    def __init__(self, base: Path, kill_at: str) -> None:
        self.state_dir = base / "state"
        self.state_dir.mkdir()
        self.killed_in = ""
        self._start({"CINDERLIB_FAULT_POINT": kill_at})

    def _start(self, environment: dict[str, str]) -> None:
        self._process = DriverProcess(self.state_dir, environment=environment)
        self._process.wait_until_ready()
        self._controller: Any = csi_pb2_grpc.ControllerStub(self._process.channel)
        self._node: Any = csi_pb2_grpc.NodeStub(self._process.channel)

    def call(self, method: str, request: Any) -> Any:
        def ask() -> Any:
            service = self._node if method.startswith("Node") else self._controller
            return getattr(service, method)(request, timeout=60)

        try:
            return ask()
        except grpc.RpcError:
            if self._process.wait(60) >= 0:
                raise
        assert not self.killed_in, "killed twice"
        self.killed_in = method
        self._process.channel.close()
        self._start({})
        return repeated(ask)

    def stop(self) -> int:
        return self._process.stop()


class Life:
    """A volume with a file in it, and a snapshot that is restored."""

    def __init__(self, program: Program, base: Path) -> None:
        self._call: Callable[[str, Any], Any] = program.call
        self._base = base
        self._capability = csi_pb2.VolumeCapability(
            mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
            access_mode=csi_pb2.VolumeCapability.AccessMode(
                mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
            ),
        )
        self._node_id = self._call("NodeGetInfo", csi_pb2.NodeGetInfoRequest()).node_id

    def create(self, name: str, snapshot_id: str = "") -> str:
        request = csi_pb2.CreateVolumeRequest(
            name=name,
            capacity_range=csi_pb2.CapacityRange(required_bytes=GIB),
            volume_capabilities=[self._capability],
        )
        if snapshot_id:
            request.volume_content_source.snapshot.snapshot_id = snapshot_id
        return str(self._call("CreateVolume", request).volume.volume_id)

    def up(self, volume_id: str) -> Path:
        """From published to mounted for a pod."""
        context = self._call(
            "ControllerPublishVolume",
            csi_pb2.ControllerPublishVolumeRequest(
                volume_id=volume_id, node_id=self._node_id, volume_capability=self._capability
            ),
        ).publish_context
        staging, target = self._paths(volume_id)
        staging.mkdir(parents=True)
        common = {"volume_id": volume_id, "publish_context": context, "volume_capability": self._capability}
        self._call("NodeStageVolume", csi_pb2.NodeStageVolumeRequest(staging_target_path=str(staging), **common))
        self._call(
            "NodePublishVolume",
            csi_pb2.NodePublishVolumeRequest(staging_target_path=str(staging), target_path=str(target), **common),
        )
        return target

    def down(self, volume_id: str) -> None:
        staging, target = self._paths(volume_id)
        self._call(
            "NodeUnpublishVolume", csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target))
        )
        self._call(
            "NodeUnstageVolume", csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(staging))
        )
        self._call(
            "ControllerUnpublishVolume",
            csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=self._node_id),
        )
        staging.rmdir()

    def snapshot(self, volume_id: str) -> str:
        request = csi_pb2.CreateSnapshotRequest(name="snap", source_volume_id=volume_id)
        return str(self._call("CreateSnapshot", request).snapshot.snapshot_id)

    def expand(self, volume_id: str) -> int:
        request = csi_pb2.ControllerExpandVolumeRequest(
            volume_id=volume_id, capacity_range=csi_pb2.CapacityRange(required_bytes=2 * GIB)
        )
        return int(self._call("ControllerExpandVolume", request).capacity_bytes)

    def modify(self, volume_id: str, kind: str) -> None:
        request = csi_pb2.ControllerModifyVolumeRequest(
            volume_id=volume_id, mutable_parameters={"extraSpecs/provisioning:type": kind}
        )
        self._call("ControllerModifyVolume", request)

    def delete(self, snapshot_id: str, *volume_ids: str) -> None:
        self._call("DeleteSnapshot", csi_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id))
        for volume_id in volume_ids:
            self._call("DeleteVolume", csi_pb2.DeleteVolumeRequest(volume_id=volume_id))

    def _paths(self, volume_id: str) -> tuple[Path, Path]:
        directory = self._base / volume_id
        return directory / "staging", directory / "target"


class ProgramThatLosesADriver(Program):
    """A driver's process alone is killed: the program goes on, and a call that it was killed in is repeated."""

    def _start(self, environment: dict[str, str]) -> None:
        super()._start({**environment, "CINDERLIB_FAULT_SCOPE": "driver"})

    def call(self, method: str, request: Any) -> Any:
        deadline = time.monotonic() + 60
        while True:
            service = self._node if method.startswith("Node") else self._controller
            try:
                return getattr(service, method)(request, timeout=60)
            except grpc.RpcError as error:
                self.killed_in = self.killed_in or method
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def stop(self) -> int:
        code = super().stop()
        if "was killed by SIGKILL" in (self.state_dir / "driver.log").read_text():
            self.killed_in = self.killed_in or "no call"
        return code


def write(path: Path) -> None:
    """So that a snapshot has it."""
    path.write_bytes(WORDS)
    for one in (path, path.parent):
        opened = os.open(one, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)


def rows(state_dir: Path) -> dict[str, int]:
    tables = ("volumes", "snapshots", "attachments")
    with sqlite3.connect(state_dir / "metadata.db") as database:
        counted = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    database.close()
    return counted


def allocated(state_dir: Path, volume_id: str) -> int:
    return (state_dir / "volumes" / f"volume-{volume_id}").stat().st_blocks * 512


def loops_of(base: Path) -> list[str]:
    """Loop devices that show a file below `base`, also one that is deleted."""
    shown = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # another test's, which is let go just now
            shown.append(path.read_text())
    return [text for text in shown if text.startswith(str(base))]


@pytest.mark.parametrize("point", [*POINTS, *IN_DRIVERS])
def test_a_volume_lives_on_when_the_program_is_killed(point: str, tmp_path: Path) -> None:
    live(Program(tmp_path, point), point, tmp_path)


@pytest.mark.parametrize("point", OF_DRIVERS)
def test_a_volume_lives_on_when_its_drivers_process_is_killed(point: str, tmp_path: Path) -> None:
    live(ProgramThatLosesADriver(tmp_path, point), point, tmp_path)


def live(program: Program, point: str, tmp_path: Path) -> None:
    """From creation to deletion, through the kill."""
    try:
        life = Life(program, tmp_path)
        volume = life.create("data")
        write(life.up(volume) / "words")
        life.modify(volume, "thick")
        assert allocated(program.state_dir, volume) >= GIB
        snapshot = life.snapshot(volume)
        restored = life.create("restored", snapshot)
        life.down(volume)
        life.modify(volume, "thin")
        assert allocated(program.state_dir, volume) < GIB / 2
        assert life.expand(volume) == 2 * GIB
        for one in (volume, restored):
            assert (life.up(one) / "words").read_bytes() == WORDS
            life.down(one)
        life.delete(snapshot, volume, restored)
    finally:
        code = program.stop()
    assert code == 0
    assert program.killed_in, f"{point} was not reached"
    assert rows(program.state_dir) == {"volumes": 0, "snapshots": 0, "attachments": 0}
    files = (path for path in (program.state_dir / "volumes").rglob("*") if path.is_file())
    left = [path for path in files if path.name != ".lock"]
    assert left == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    until(lambda: loops_of(tmp_path) == [])  # one that somebody looks at just now goes a moment later
