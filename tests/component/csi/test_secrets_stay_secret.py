"""A volume's whole life with a driver that deals in CHAP secrets: they are in no log, no answer, no table and no copy of it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.csi.v1 import csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.sealing import generate_key
from tests.component.csi.site import GIB, creation, mount
from tests.support.fakes.canaries import CANARIES
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server, running

pytestmark = pytest.mark.root
KEY = generate_key()
CAPABILITY = mount("ext4")


@dataclass(frozen=True)
class Bed:
    """A store's settings, and everything that it holds, as it lies there and as its own tool copies it."""

    store: Mapping[str, Any]
    contents: Callable[[Path], bytes]


def on_server(kind: Callable[[], Server]) -> Iterator[Bed]:
    for server in running(kind):
        data = server.directory / "data"

        def contents(_: Path, server: Server = server, data: Path = data) -> bytes:
            return server.dump() + b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())

        yield Bed({"options": {"url": server.url}}, contents)


def in_file() -> Iterator[Bed]:
    yield Bed({}, lambda state: b"".join(path.read_bytes() for path in state.glob("metadata.db*") if path.is_file()))


BEDS: Mapping[str, Callable[[], Iterator[Bed]]] = {
    "sqlite": in_file,
    "postgresql": lambda: on_server(PostgreSQL),
    "mariadb": lambda: on_server(MariaDB),
    "mysql": lambda: on_server(MySQL),
}


@pytest.fixture(params=BEDS)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    yield from BEDS[request.param]()


@pytest.fixture
def driver(bed: Bed, tmp_path: Path) -> Iterator[DriverProcess]:
    """One process that logs all it can."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    backend = {
        "driver": "tests.support.fakes.talkative.TalkativeDriver",
        "options": {"loopfile_directories": [str(tmp_path / "volumes")]},
    }
    settings = {
        "store": bed.store,
        "backends": {"array": backend},
        "sealing_keys": [{"id": "k1", "key": KEY}],
        "log": {"level": "debug", "format": "json"},
    }
    (state_dir / "config.yaml").write_text(json.dumps(settings))
    path = str(Path(__file__).parents[3])
    driver = DriverProcess(state_dir, ["--config", str(state_dir / "config.yaml")], {"PYTHONPATH": path})
    driver.wait_until_ready()
    yield driver
    driver.stop()


class Life:
    """The calls of one volume, and all that was answered to them."""

    def __init__(self, driver: DriverProcess, root: Path) -> None:
        self._controller = csi_pb2_grpc.ControllerStub(driver.channel)
        self._node = csi_pb2_grpc.NodeStub(driver.channel)
        self._staging, self._target = str(root / "staging"), str(root / "pods" / "volume")
        self.answered = ""

    def call(self, method: Any, request: Any) -> Any:
        try:
            answer = method(request, timeout=60)
        except grpc.RpcError as error:
            self.answered += str(error)
            return None
        self.answered += f"{answer}\n"
        return answer

    def begin(self) -> None:
        """Up to the pod's mount, with a snapshot, and an extension that the array refuses."""
        self.volume = self.call(self._controller.CreateVolume, creation("talkative", capability=CAPABILITY)).volume
        node_id = self.call(self._node.NodeGetInfo, pb.NodeGetInfoRequest()).node_id
        publish = pb.ControllerPublishVolumeRequest(
            volume_id=self.volume.volume_id, node_id=node_id, volume_capability=CAPABILITY
        )
        self.context = dict(self.call(self._controller.ControllerPublishVolume, publish).publish_context)
        Path(self._staging).mkdir()
        Path(self._target).parent.mkdir()
        common = {"volume_id": self.volume.volume_id, "staging_target_path": self._staging}
        given = {**common, "publish_context": self.context, "volume_capability": CAPABILITY}
        assert self.call(self._node.NodeStageVolume, pb.NodeStageVolumeRequest(**given)) is not None, self.answered
        target = pb.NodePublishVolumeRequest(target_path=self._target, **given)
        assert self.call(self._node.NodePublishVolume, target) is not None, self.answered
        snapshot = pb.CreateSnapshotRequest(source_volume_id=self.volume.volume_id, name="talkative")
        self.snapshot = self.call(self._controller.CreateSnapshot, snapshot).snapshot
        self.call(self._controller.ListVolumes, pb.ListVolumesRequest())
        more = pb.CapacityRange(required_bytes=3 * GIB)
        refused = pb.ControllerExpandVolumeRequest(volume_id=self.volume.volume_id, capacity_range=more)
        assert self.call(self._controller.ControllerExpandVolume, refused) is None

    def end(self) -> None:
        id = self.volume.volume_id
        unpublish = pb.NodeUnpublishVolumeRequest(volume_id=id, target_path=self._target)
        unstage = pb.NodeUnstageVolumeRequest(volume_id=id, staging_target_path=self._staging)
        self.call(self._node.NodeUnpublishVolume, unpublish)
        self.call(self._node.NodeUnstageVolume, unstage)
        self.call(self._controller.ControllerUnpublishVolume, pb.ControllerUnpublishVolumeRequest(volume_id=id))
        self.call(self._controller.DeleteSnapshot, pb.DeleteSnapshotRequest(snapshot_id=self.snapshot.snapshot_id))
        self.call(self._controller.DeleteVolume, pb.DeleteVolumeRequest(volume_id=id))


def assert_clean(what: str, content: bytes) -> None:
    for canary in CANARIES:
        for hidden in (canary.encode(), base64.b64encode(canary.encode())[:-4], canary.encode().hex().encode()):
            at = content.find(hidden)
            assert at < 0, f"{what}: {content[max(0, at - 300) : at + 100]!r}"


def commands(state_dir: Path, out: Path) -> bytes:
    """What the program's own commands say about that store, after the process has ended."""
    said = b""
    for words in (
        ["get", "volumes", "-o", "json"],
        ["get", "attachments", "-o", "json"],
        ["get", "orphans"],
        ["export", str(out)],
        ["migrate"],
    ):
        argv = [sys.executable, "-m", "csi_cinderlib", *words, "--state-dir", str(state_dir)]
        argv += ["--config", str(state_dir / "config.yaml"), "--log-level", "debug"]
        done = subprocess.run(argv, capture_output=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    return said + out.read_bytes()


def test_no_secret_of_an_array_is_seen_anywhere(bed: Bed, driver: DriverProcess, tmp_path: Path) -> None:
    life = Life(driver, tmp_path)
    life.begin()
    log = driver.state_dir / "driver.log"
    for text in ("Connection of volume-", "iscsiadm -m node", "array.test", "the array refused"):
        assert text in log.read_text(), f"the driver's own line {text!r} is what this test is about"
    assert life.context["connection"].startswith("k:k1:")
    assert_clean("the store", bed.contents(driver.state_dir))
    assert_clean("the answers", life.answered.encode())
    assert driver.kill() != 0  # with the volume staged: what it leaves is what a crash leaves
    driver.stop()
    assert_clean("the program's commands", commands(driver.state_dir, tmp_path / "export"))
    again = DriverProcess(
        driver.state_dir,
        ["--config", str(driver.state_dir / "config.yaml")],
        {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        again.wait_until_ready()
        ending = Life(again, tmp_path)
        ending.volume, ending.snapshot = life.volume, life.snapshot
        ending.end()
        assert "StatusCode" not in ending.answered
    finally:
        again.stop()
    assert_clean("the log", log.read_bytes())
    assert_clean("the answers", ending.answered.encode())
    assert_clean("the store at the end", bed.contents(driver.state_dir))
