"""A volume's whole life over the socket of a real process, each call twice, and the node's calls in the wrong order."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.csi.v1 import csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import devices, loopctl, mounts
from tests.component.csi.harness import code, failed
from tests.component.csi.site import GIB, block, creation, mount

pytestmark = pytest.mark.root
NOT_FOUND, PRECONDITION = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION


@dataclass
class Machine:
    """One process with both halves of the driver, and directories as the kubelet makes them."""

    root: Path
    driver: DriverProcess
    capability: pb.VolumeCapability

    def __post_init__(self) -> None:
        self.controller = csi_pb2_grpc.ControllerStub(self.driver.channel)
        self.node = csi_pb2_grpc.NodeStub(self.driver.channel)
        self.node_id = self.node.NodeGetInfo(pb.NodeGetInfoRequest(), timeout=60).node_id
        (self.root / "pods").mkdir()

    def staging(self, volume: pb.Volume) -> str:
        path = self.root / "staging" / volume.volume_id
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def target(self, volume: pb.Volume) -> str:
        return str(self.root / "pods" / volume.volume_id)

    # Every call twice: the second must be as good as the first.

    def twice(self, call: Any, request: Any) -> Any:
        first, second = (call(request, timeout=60) for _ in range(2))
        assert first == second
        return second

    def create(self, name: str, **more: Any) -> pb.Volume:
        answer = self.twice(self.controller.CreateVolume, creation(name, capability=self.capability, **more))
        assert isinstance(answer.volume, pb.Volume)
        return answer.volume

    def attach(self, volume: pb.Volume) -> Path:
        """Publish, stage and publish: the path at which the volume is used."""
        context = self.twice(
            self.controller.ControllerPublishVolume,
            pb.ControllerPublishVolumeRequest(
                volume_id=volume.volume_id, node_id=self.node_id, volume_capability=self.capability
            ),
        ).publish_context
        self.twice(self.node.NodeStageVolume, self.stage_request(volume, context))
        self.twice(self.node.NodePublishVolume, self.publish_request(volume, context))
        return Path(self.target(volume))

    def detach(self, volume: pb.Volume) -> None:
        target, staging = self.target(volume), self.staging(volume)
        self.twice(
            self.node.NodeUnpublishVolume, pb.NodeUnpublishVolumeRequest(volume_id=volume.volume_id, target_path=target)
        )
        assert not Path(target).exists()
        self.twice(
            self.node.NodeUnstageVolume,
            pb.NodeUnstageVolumeRequest(volume_id=volume.volume_id, staging_target_path=staging),
        )
        self.twice(
            self.controller.ControllerUnpublishVolume,
            pb.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id, node_id=self.node_id),
        )

    def delete(self, volume: pb.Volume) -> None:
        self.twice(self.controller.DeleteVolume, pb.DeleteVolumeRequest(volume_id=volume.volume_id))

    def stage_request(self, volume: pb.Volume, context: Any = None) -> pb.NodeStageVolumeRequest:
        return pb.NodeStageVolumeRequest(
            volume_id=volume.volume_id,
            publish_context=context or {},
            staging_target_path=self.staging(volume),
            volume_capability=self.capability,
        )

    def publish_request(self, volume: pb.Volume, context: Any = None) -> pb.NodePublishVolumeRequest:
        return pb.NodePublishVolumeRequest(
            volume_id=volume.volume_id,
            publish_context=context or {},
            staging_target_path=self.staging(volume),
            target_path=self.target(volume),
            volume_capability=self.capability,
        )


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriverProcess]:
    state_dir = tmp_path_factory.mktemp("state")
    driver = DriverProcess(state_dir)
    driver.wait_until_ready()
    yield driver
    outcome, left = driver.stop(), sweep(state_dir.parent)
    assert outcome == 0, driver.log()
    assert left == []


def sweep(base: Path) -> list[str]:
    """Take down what is still mounted or attached below a directory, and name it."""
    left = []
    for item in reversed(mounts.table()):
        if item.target.startswith(str(base)):
            left.append(item.target)
            mounts.unmount(item.target, lazy=True)
    for number in loopctl.attached():
        if loopctl.backing_path(number).startswith(str(base)):
            device = loopctl.node(number)
            left.append(device)
            devices.detach_file(device, expected=devices.identity(device))
    return left


@pytest.fixture(params=["ext4", "xfs", "block"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, driver: DriverProcess) -> Machine:
    return Machine(tmp_path, driver, block() if request.param == "block" else mount(request.param))


def write(path: Path, text: str) -> None:
    """Durably: a clone shows what a power cut would leave."""
    if path.is_dir():
        (path / "data").write_text(text)
        subprocess.run(["sync", "-f", path / "data"], check=True)
    else:
        with path.open("r+b", buffering=0) as device:
            device.write(text.encode().ljust(4096, b"\0"))
            os.fsync(device)


def read(path: Path) -> str:
    if path.is_dir():
        return (path / "data").read_text()
    with path.open("rb", buffering=0) as device:
        return device.read(4096).rstrip(b"\0").decode()


def test_a_whole_life_with_every_call_made_twice(machine: Machine, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    volume = machine.create(f"{name}-1", required=1)
    path = machine.attach(volume)
    write(path, "first")
    taken = machine.twice(
        machine.controller.CreateSnapshot, pb.CreateSnapshotRequest(name=f"{name}-s", source_volume_id=volume.volume_id)
    ).snapshot
    write(path, "second")
    clone = machine.create(f"{name}-2", clone=volume.volume_id)
    restored = machine.create(f"{name}-3", snapshot=taken.snapshot_id, required=2 * GIB)
    check_growth(machine, volume, path)
    check_stats(machine, restored, machine.attach(restored), 2 * GIB)
    assert read(machine.attach(clone)) == read(path) == "second"
    assert read(Path(machine.target(restored))) == "first"
    for used in (volume, clone, restored):
        machine.detach(used)
    assert read(machine.attach(volume)) == "second"
    machine.detach(volume)
    machine.twice(machine.controller.DeleteSnapshot, pb.DeleteSnapshotRequest(snapshot_id=taken.snapshot_id))
    for done in (restored, clone, volume):
        machine.delete(done)


def test_copies_of_a_volume_that_was_never_used_are_staged_like_new_ones(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    volume = machine.create(f"{name}-1", required=1)
    taken = machine.controller.CreateSnapshot(
        pb.CreateSnapshotRequest(name=f"{name}-s", source_volume_id=volume.volume_id), timeout=60
    ).snapshot
    together = (
        csi_pb2_grpc.GroupControllerStub(machine.driver.channel)
        .CreateVolumeGroupSnapshot(
            pb.CreateVolumeGroupSnapshotRequest(name=f"{name}-g", source_volume_ids=[volume.volume_id]), timeout=60
        )
        .group_snapshot
    )
    clone = machine.create(f"{name}-2", clone=volume.volume_id)
    restored = machine.create(f"{name}-3", snapshot=taken.snapshot_id, required=2 * GIB)
    member = machine.create(f"{name}-4", snapshot=together.snapshots[0].snapshot_id)
    second = machine.create(f"{name}-5", clone=clone.volume_id)
    everything = (volume, clone, restored, member, second)
    for made in everything:
        write(machine.attach(made), made.volume_id)
    check_stats(machine, restored, Path(machine.target(restored)), 2 * GIB)
    used = machine.create(f"{name}-6", clone=volume.volume_id)
    assert read(machine.attach(used)) == volume.volume_id
    for made in everything:
        assert read(Path(machine.target(made))) == made.volume_id
    for made in (used, *everything):
        machine.detach(made)
    machine.twice(machine.controller.DeleteSnapshot, pb.DeleteSnapshotRequest(snapshot_id=taken.snapshot_id))
    csi_pb2_grpc.GroupControllerStub(machine.driver.channel).DeleteVolumeGroupSnapshot(
        pb.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=together.group_snapshot_id), timeout=60
    )
    for made in (used, *everything):
        machine.delete(made)


def check_growth(machine: Machine, volume: pb.Volume, path: Path) -> None:
    """Grow it while it is used. Offline growth of ext4 is left to the restore: this machine may not grow a mounted one."""
    if machine.capability.mount.fs_type == "ext4":
        return
    size = pb.CapacityRange(required_bytes=1500 * 1024**2)
    grown = machine.twice(
        machine.controller.ControllerExpandVolume,
        pb.ControllerExpandVolumeRequest(volume_id=volume.volume_id, capacity_range=size),
    )
    assert (grown.capacity_bytes, grown.node_expansion_required) == (2 * GIB, True)
    seen = machine.twice(
        machine.node.NodeExpandVolume,
        pb.NodeExpandVolumeRequest(
            volume_id=volume.volume_id,
            volume_path=str(path),
            capacity_range=pb.CapacityRange(required_bytes=grown.capacity_bytes),
            volume_capability=machine.capability,
        ),
    )
    assert seen.capacity_bytes == 2 * GIB
    check_stats(machine, volume, path, 2 * GIB)


def check_stats(machine: Machine, volume: pb.Volume, path: Path, size: int) -> None:
    request = pb.NodeGetVolumeStatsRequest(volume_id=volume.volume_id, volume_path=str(path))
    answer = machine.node.NodeGetVolumeStats(request, timeout=60)
    usage = {line.unit: line for line in answer.usage}
    assert not answer.volume_condition.abnormal
    assert 0.85 * size < usage[pb.VolumeUsage.BYTES].total <= size
    assert (pb.VolumeUsage.INODES in usage) is machine.capability.HasField("mount")


def test_calls_on_a_node_in_the_wrong_order_do_no_harm(machine: Machine, request: pytest.FixtureRequest) -> None:
    volume = machine.create(request.node.name)
    error = failed(machine.node.NodePublishVolume, machine.publish_request(volume))
    assert code(error) in (PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)
    assert not Path(machine.target(volume)).exists()
    assert code(failed(machine.node.NodeStageVolume, machine.stage_request(volume))) in (
        PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    forged = machine.stage_request(volume, {"connection": "plain:e30="})
    assert code(failed(machine.node.NodeStageVolume, forged)) is grpc.StatusCode.INVALID_ARGUMENT
    for path in (machine.target(volume), "relative/path"):
        stats = pb.NodeGetVolumeStatsRequest(volume_id=volume.volume_id, volume_path=path)
        assert code(failed(machine.node.NodeGetVolumeStats, stats)) is NOT_FOUND
        expand = pb.NodeExpandVolumeRequest(volume_id=volume.volume_id, volume_path=path)
        assert code(failed(machine.node.NodeExpandVolume, expand)) is NOT_FOUND
    machine.detach(volume)
    machine.delete(volume)


def test_a_volume_is_not_unpublished_under_a_call_that_works_on_it(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    """Eight stages at once: each succeeds or is aborted, and one device comes of it."""
    volume = machine.create(request.node.name)
    context = machine.controller.ControllerPublishVolume(
        pb.ControllerPublishVolumeRequest(
            volume_id=volume.volume_id, node_id=machine.node_id, volume_capability=machine.capability
        ),
        timeout=60,
    ).publish_context
    barrier = threading.Barrier(8)

    def stage(_number: int) -> str:
        barrier.wait(60)
        try:
            machine.node.NodeStageVolume(machine.stage_request(volume, context), timeout=60)
        except grpc.RpcError as error:
            return code(error).name
        return "OK"

    with ThreadPoolExecutor(8) as pool:
        outcomes = set(pool.map(stage, range(8)))
    assert outcomes <= {"OK", "ABORTED"}
    assert "OK" in outcomes
    devices = [number for number in loopctl.attached() if volume.volume_id in loopctl.backing_path(number)]
    assert len(devices) == 1
    machine.detach(volume)
    machine.delete(volume)


def test_what_a_driver_answers_never_shows_a_connection_in_its_log(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    volume = machine.create(request.node.name)
    publish = pb.ControllerPublishVolumeRequest(
        volume_id=volume.volume_id,
        node_id=machine.node_id,
        volume_capability=machine.capability,
        secrets={"k": "canary-of-a-secret"},
    )
    context = machine.controller.ControllerPublishVolume(publish, timeout=60).publish_context
    staged = machine.stage_request(volume, context)
    staged.secrets["passphrase"] = "canary-of-a-secret"
    if machine.capability.HasField("mount"):
        staged.volume_capability.mount.mount_flags.append("nonsense=canary-of-a-secret")
        error = failed(machine.node.NodeStageVolume, staged)
        assert "canary-of-a-secret" not in (error.details() or "")
    log = (machine.driver.state_dir / "driver.log").read_text()
    assert "canary-of-a-secret" not in log
    assert context["connection"] not in log
    machine.detach(volume)
    machine.delete(volume)
