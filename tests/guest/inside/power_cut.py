"""Two lives of one machine, run by tests/guest/test_guest_power_cut.py:  python -m tests.guest.inside.power_cut work|look ACKED

`work` makes the file system on /dev/ubda, serves from there, and notes each answered call and each synced write in the file
ACKED, until the power is cut. `look`, after the next boot, finds every one of them again.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from tests.guest.inside.node_process import CAPABILITY
from tests.guest.inside.shell import modprobe, run
from tests.support.repeating import repeated

DISK = Path("/mnt")
TARGET = Path("/run/pods/volume")
STAGING = Path("/run/staging")


class Machine:
    """The driver in mode `all`, its state on the disk, and the volume `data` mounted for a pod."""

    def __init__(self) -> None:
        modprobe("loop")
        run("mount", "/dev/ubda", DISK)
        state = DISK / "state"
        state.mkdir(exist_ok=True)
        STAGING.mkdir()
        TARGET.parent.mkdir()
        self.process = DriverProcess(state)
        self.process.wait_until_ready()
        self.controller = csi_pb2_grpc.ControllerStub(self.process.channel)
        self.node = csi_pb2_grpc.NodeStub(self.process.channel)

    def create(self, name: str) -> str:
        request = csi_pb2.CreateVolumeRequest(name=name, volume_capabilities=[CAPABILITY])
        return self.controller.CreateVolume(request, timeout=120).volume.volume_id

    def use(self, volume_id: str) -> None:
        node_id = self.node.NodeGetInfo(csi_pb2.NodeGetInfoRequest()).node_id
        publish = csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume_id, node_id=node_id, volume_capability=CAPABILITY
        )
        context = self.controller.ControllerPublishVolume(publish, timeout=120).publish_context
        stage = csi_pb2.NodeStageVolumeRequest(
            volume_id=volume_id,
            publish_context=context,
            staging_target_path=str(STAGING),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self.node.NodeStageVolume(stage, timeout=60))
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume_id,
            publish_context=context,
            staging_target_path=str(STAGING),
            target_path=str(TARGET),
            volume_capability=CAPABILITY,
        )
        repeated(lambda: self.node.NodePublishVolume(request, timeout=60))


def work(acked: Path) -> None:
    """Never returns: the power is cut."""
    run("mkfs.ext4", "-q", "/dev/ubda")
    machine = Machine()
    machine.use(machine.create("data"))
    with acked.open("a") as notes:
        for number in itertools.count():
            with (TARGET / f"file{number}").open("wb") as file:
                file.write(bytes([number % 256]) * 5000)
                file.flush()
                os.fsync(file.fileno())
            notes.write(f"file {number}\n")
            notes.write(f"volume {number} {machine.create(f'volume {number}')}\n")
            notes.flush()


def look(acked: Path) -> None:
    """Raises AssertionError when something that was acknowledged is gone."""
    machine = Machine()
    machine.use(machine.create("data"))
    volumes = {entry.volume.volume_id for entry in machine.controller.ListVolumes(csi_pb2.ListVolumesRequest()).entries}
    notes = [line.split() for line in acked.read_text().splitlines()]
    for kind, number, *rest in notes:
        if kind == "file":
            assert (TARGET / f"file{number}").read_bytes() == bytes([int(number) % 256]) * 5000, number
        else:
            assert rest[0] in volumes, number
            assert machine.create(f"volume {number}") == rest[0]
    last = sum(1 for kind, *_ in notes if kind == "volume")
    machine.create(f"volume {last}")  # was under way, or not begun
    assert machine.process.stop() == 0
    print(f"{len(notes)} acknowledged, all there")


if __name__ == "__main__":
    {"work": work, "look": look}[sys.argv[1]](Path(sys.argv[2]))
