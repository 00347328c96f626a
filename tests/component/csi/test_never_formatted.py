"""What an application wrote is never formatted, whatever somebody did to its beginning: over the socket, from the array to the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import loopctl
from tests.component.csi.harness import code, failed
from tests.component.csi.site import MIB, block, mount
from tests.component.csi.test_whole_life import Machine, driver  # noqa: F401  # a fixture
from tests.component.host.test_formats import content

pytestmark = pytest.mark.root
DATA = b"of an application" * MIB


@pytest.fixture
def machine(tmp_path: Path, driver: DriverProcess) -> Machine:  # noqa: F811  # the fixture
    return Machine(tmp_path, driver, mount("ext4"))


@pytest.fixture
def volume(machine: Machine, request: pytest.FixtureRequest) -> Iterator[pb.Volume]:
    made = machine.create(request.node.name)
    yield made
    machine.detach(made)
    machine.delete(made)


def file_of(volume: pb.Volume) -> Path:
    """The volume's file, while a node has it attached."""
    (path,) = filter(lambda one: volume.volume_id in one, map(loopctl.backing_path, loopctl.attached()))
    return Path(path)


def give_back(machine: Machine, volume: pb.Volume) -> None:
    """Unpublish and unstage; the volume stays attached to the node."""
    target, staging = machine.target(volume), machine.staging(volume)
    id = volume.volume_id
    machine.twice(machine.node.NodeUnpublishVolume, pb.NodeUnpublishVolumeRequest(volume_id=id, target_path=target))
    unstage = pb.NodeUnstageVolumeRequest(volume_id=id, staging_target_path=staging)
    machine.twice(machine.node.NodeUnstageVolume, unstage)


def refusal(machine: Machine, volume: pb.Volume) -> str:
    """Why the node does not stage it as the controller publishes it."""
    publish = pb.ControllerPublishVolumeRequest(
        volume_id=volume.volume_id, node_id=machine.node_id, volume_capability=machine.capability
    )
    context = machine.controller.ControllerPublishVolume(publish, timeout=60).publish_context
    error = failed(machine.node.NodeStageVolume, machine.stage_request(volume, context))
    assert code(error) is grpc.StatusCode.FAILED_PRECONDITION
    return error.details() or ""


def assert_kept(machine: Machine, volume: pb.Volume, file: Path) -> None:
    """Within the attachment, and after another one, a file system is asked for in vain."""
    before = content(file)
    for _ in range(2):
        assert "docs/how-to/recover-a-volume.md#a-refusal-to-format" in refusal(machine, volume)
        machine.detach(volume)
    assert content(file) == before


def test_a_raw_volume_with_data_from_2_mib_on_is_not_formatted(machine: Machine, volume: pb.Volume) -> None:
    machine.capability = block()
    with machine.attach(volume).open("r+b") as device:
        device.seek(2 * MIB)
        device.write(DATA)
    file = file_of(volume)
    machine.detach(volume)
    machine.capability = mount("ext4")
    assert_kept(machine, volume, file)


@pytest.mark.parametrize("fs_type", ["ext4", "xfs", "btrfs"])
def test_a_file_system_whose_first_mib_was_zeroed_is_not_formatted(
    machine: Machine, volume: pb.Volume, fs_type: str
) -> None:
    machine.capability = mount(fs_type)
    (machine.attach(volume) / "file").write_bytes(DATA)
    file = file_of(volume)
    give_back(machine, volume)
    with file.open("r+b") as damaged:
        damaged.write(bytes(MIB))
    assert_kept(machine, volume, file)
