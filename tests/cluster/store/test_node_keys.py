"""Each node has a key of its own: controller and nodes as processes, with their own accounts on a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import devices, loopctl
from csi_cinderlib.model.records import Node
from csi_cinderlib.node.own_keys import FILE
from csi_cinderlib.sealing import Sealer, generate_key
from tests.cluster.bed.custom_resources import Namespace
from tests.program.serve.conftest import BLOCK, Calls, until

pytestmark = [pytest.mark.cluster, pytest.mark.root]
SHARED = SealingKey(id="k1", key=generate_key())


class Site:
    """Processes with files of keys as the chart mounts them: the controller's, and one that all had before."""

    def __init__(self, namespace: Namespace, folder: Path, ending: ExitStack) -> None:
        self.namespace = namespace
        self.folder = folder
        self._ending = ending
        self._made: dict[str, str] = {}
        self.own, self.shared = folder / "own.yaml", folder / "shared.yaml"
        self.use("c1")

    def use(self, *ids: str) -> None:
        keys = [SealingKey(id=id, key=self._made.setdefault(id, generate_key())) for id in ids]
        _write(self.own, *keys)

    def start(self, mode: str, name: str, **settings: object) -> DriverProcess:
        state = self.folder / name
        state.mkdir(exist_ok=True)
        kubeconfig = self.namespace.kubeconfigs[mode]
        options = {"kubeconfig": str(kubeconfig), "namespace": self.namespace.name}
        config = {
            "mode": mode,
            "kubernetes": True,
            "node_name": name,
            "store": {"plugin": "kubernetes", "options": options},
            "shared_keys_file": str(self.shared),
            "log": {"level": "info"},
            "local_paths": [str(self.folder / "volumes")],
            **({"sealing_keys_file": str(self.own)} if mode == "controller" else {}),
            **settings,
        }
        (state / "config.yaml").write_text(json.dumps(config))
        driver = DriverProcess(state, ("--config", str(state / "config.yaml")))
        self._ending.callback(driver.stop)
        driver.wait_until_ready()
        return driver

    def node(self, name: str) -> RunningNode:
        return RunningNode(self, name)

    def controller(self) -> Calls:
        volumes = {"loopfile_directories": [str(self.folder / "volumes")]}
        back_ends = {"local": {"driver": "csi_cinderlib.drivers.loopfile.LoopFileDriver", "options": volumes}}
        return Calls(self.start("controller", "controller", backends=back_ends))

    def registered(self, name: str) -> Node:
        return self.namespace.store(None).get(Node, name)


class RunningNode:
    """A node's process, its state and its calls."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self.name = name
        self.start()

    def start(self) -> None:
        self.driver = self._site.start("node", self.name)
        self._stub: Any = csi_pb2_grpc.NodeStub(self.driver.channel)

    @property
    def state(self) -> Path:
        return self._site.folder / self.name

    def stage(self, volume_id: str, context: dict[str, str]) -> None:
        path = self._site.folder / "staging" / self.name / volume_id
        path.mkdir(parents=True, exist_ok=True)
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=volume_id, staging_target_path=str(path), publish_context=context, volume_capability=BLOCK
        )
        self._stub.NodeStageVolume(request, timeout=60)

    def unstage(self, volume_id: str) -> None:
        path = self._site.folder / "staging" / self.name / volume_id
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(path))
        self._stub.NodeUnstageVolume(request, timeout=60)

    def rotate(self, *options: str) -> str:
        command = [
            sys.executable,
            "-m",
            "csi_cinderlib",
            "rotate-node-key",
            "--config",
            str(self.state / "config.yaml"),
        ]
        command += ["--state-dir", str(self.state), *options]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _write(path: Path, *keys: SealingKey) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps([{"id": key.id, "key": key.key} for key in keys]))
    part.rename(path)


def refused(call: Callable[[], object], code: grpc.StatusCode, words: str) -> None:
    with pytest.raises(grpc.RpcError, match=words) as error:
        call()
    assert error.value.code() is code


@pytest.fixture
def site(namespace: Namespace, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as ending:
        yield Site(namespace, tmp_path, ending)
    for number, file in loopctl.attached().items():
        if file.startswith(str(tmp_path)):
            device = loopctl.node(number)
            devices.detach_file(device, expected=devices.identity(device))


def test_a_context_is_one_nodes_and_is_of_no_use_to_another(site: Site) -> None:
    controller, a, b = site.controller(), site.node("a"), site.node("b")
    volume = controller.create("v")
    context = controller.publish(volume, "a")
    public = site.registered("a").public_key
    assert public and public != site.registered("b").public_key
    assert context["connection"].startswith("n1:c1:")
    other = controller.create("other")
    b.stage(other, controller.publish(other, "b"))
    refused(lambda: b.stage(volume, context), grpc.StatusCode.INVALID_ARGUMENT, "for node 'b'")
    a.stage(volume, context)
    a.unstage(volume)
    held = "".join(path.read_text(errors="replace") for path in b.state.rglob("*") if path.is_file())
    assert site.own.read_text()[20:60] not in held
    key = a.state / FILE
    assert key.stat().st_mode & 0o777 == 0o600
    b.unstage(other)
    for node, volume_id in (("a", volume), ("b", other)):
        controller.unpublish(volume_id, node)
        controller.delete(volume_id)


def test_what_the_holder_of_a_nodes_files_makes_is_refused_everywhere(site: Site) -> None:
    """Everything that a node has: its own key and, from before, the one that all had."""
    controller, node = site.controller(), site.node("a")
    volume = controller.create("v")
    controller.publish(volume, "a")
    forged = json.dumps({"v": 1, "volume_id": volume, "protocol": "local", "data": {"device_path": "/etc/passwd"}})
    for text in (Sealer().seal(forged.encode()), Sealer([SHARED]).seal(forged.encode())):
        refused(
            lambda text=text: node.stage(volume, {"connection": text}),  # type: ignore[misc]  # mypy cannot infer a lambda's default
            grpc.StatusCode.INVALID_ARGUMENT,
            "not encrypted to a key of node 'a'",
        )
    controller.unpublish(volume, "a")
    controller.delete(volume)


def test_both_kinds_of_keys_are_exchanged_under_a_staged_volume_without_a_restart(site: Site) -> None:
    controller, node = site.controller(), site.node("a")
    lasting = controller.create("lasting")
    first = controller.publish(lasting, "a")
    node.stage(lasting, first)

    before = site.registered("a").public_key
    assert ": new key " in node.rotate()
    until(lambda: site.registered("a").public_key != before, node.driver)
    second = controller.publish(lasting, "a")
    assert second["connection"].split(":")[2] != first["connection"].split(":")[2]

    site.use("c2", "c1")
    until(lambda: set(site.registered("a").signers) == {"c1", "c2"}, controller.driver)
    volume = controller.create("v")
    third = controller.publish(volume, "a")
    assert third["connection"].startswith("n1:c2:")
    node.stage(volume, third)
    for context in (first, second):
        node.stage(lasting, context)  # as after a restart of the kubelet
    node.unstage(lasting)
    node.stage(lasting, first)

    assert "old keys removed: 1" in node.rotate("--forget-old")
    refused(lambda: node.stage(lasting, first), grpc.StatusCode.INVALID_ARGUMENT, "which no longer exists")
    node.stage(lasting, controller.publish(lasting, "a"))
    for volume_id in (lasting, volume):
        node.unstage(volume_id)
        controller.unpublish(volume_id, "a")
        controller.delete(volume_id)


def test_what_was_sealed_before_nodes_had_keys_stays_readable_until_the_shared_key_is_taken_away(site: Site) -> None:
    """An upgrade: the old chart's key lies in its Secret, and connections in use are sealed with it."""
    _write(site.shared, SHARED)
    controller, node = site.controller(), site.node("a")
    volume = controller.create("v")
    controller.publish(volume, "a")
    connection = {"v": 1, "volume_id": volume, "attachment": "", "protocol": "local", "data": {}}
    image = next((site.folder / "volumes").rglob("*.raw"), None) or next(
        path for path in (site.folder / "volumes").rglob("*") if path.is_file() and volume in path.name
    )
    connection |= {"data": {"device_path": str(image)}, "size": image.stat().st_size, "formatting": "forbidden"}
    connection |= {"read_only": False, "fs_type": "", "mkfs_options": []}
    before = {"connection": Sealer([SHARED]).seal(zlib.compress(json.dumps(connection).encode()))}
    node.stage(volume, before)
    node.unstage(volume)
    site.shared.unlink()
    until(lambda: "sealing keys reloaded" in node.driver.log(), node.driver)
    refused(lambda: node.stage(volume, before), grpc.StatusCode.INVALID_ARGUMENT, "not encrypted to a key of node 'a'")
    controller.unpublish(volume, "a")
    controller.delete(volume)


def test_a_node_that_starts_again_reads_what_it_was_sent_before(site: Site) -> None:
    controller, node = site.controller(), site.node("a")
    volume = controller.create("v")
    context = controller.publish(volume, "a")
    key = site.registered("a").public_key
    node.driver.stop()
    node.start()
    assert site.registered("a").public_key == key
    assert set(site.registered("a").signers) == {"c1"}
    node.stage(volume, context)
    node.unstage(volume)
    controller.unpublish(volume, "a")
    controller.delete(volume)
