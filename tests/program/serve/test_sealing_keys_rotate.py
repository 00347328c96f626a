"""The sealing key is exchanged while a controller and a node work: no call fails, nothing is started anew, nothing becomes unreadable."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.sealing import generate_key
from tests.program.serve.conftest import BLOCK, Calls, Start, until

pytestmark = pytest.mark.root
T = TypeVar("T")


class Site:
    """A controller and a node, two processes, with one file of keys."""

    def __init__(self, start: Start, base: Path) -> None:
        self.keys = base / "keys.yaml"
        self._made: dict[str, str] = {}
        self._base = base
        self.use("old")
        config = f"sealing_keys_file: {self.keys}\nlocal_paths: [{base}/controller/volumes]\n"
        self.controller = start("--mode", "controller", name="controller", config=config)
        self.node = start("--mode", "node", name="node", config=config)
        for driver in (self.controller, self.node):
            driver.wait_until_ready()
        self.calls = Calls(self.controller)
        self._stub: Any = csi_pb2_grpc.NodeStub(self.node.channel)
        self.node_id = self._stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest()).node_id

    def use(self, *ids: str) -> None:
        """As the kubelet exchanges a Secret: from one moment to the next."""
        lines = [f"- {{id: {id}, key: {self._made.setdefault(id, generate_key())}}}\n" for id in ids]
        part = self.keys.with_suffix(".part")
        part.write_text("".join(lines))
        part.rename(self.keys)

    def stage(self, volume_id: str, context: dict[str, str]) -> None:
        path = self._base / "staging" / volume_id
        path.mkdir(parents=True, exist_ok=True)
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=volume_id, staging_target_path=str(path), publish_context=context, volume_capability=BLOCK
        )
        self._stub.NodeStageVolume(request, timeout=60)

    def unstage(self, volume_id: str) -> None:
        path = self._base / "staging" / volume_id
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=volume_id, staging_target_path=str(path))
        self._stub.NodeUnstageVolume(request, timeout=60)

    def live(self, name: str) -> str:
        """A volume's life; which key sealed its connection."""
        volume = repeated(lambda: self.calls.create(name))
        context = repeated(lambda: self.calls.publish(volume, self.node_id))
        self.stage(volume, context)
        self.unstage(volume)
        repeated(lambda: self.calls.unpublish(volume, self.node_id))
        repeated(lambda: self.calls.delete(volume))
        return context["connection"].split(":")[1]

    def saw(self, *words: str, driver: DriverProcess) -> bool:
        lines = (driver.state_dir / "driver.log").read_text().splitlines()
        return any(all(word in line for word in words) for line in lines)

    def wait_for_keys(self, *ids: str) -> None:
        shown = '"ids": [' + ", ".join(f'"{id}"' for id in ids) + "]"
        for driver in (self.controller, self.node):
            until(lambda driver=driver: self.saw("sealing keys reloaded", shown, driver=driver), driver)  # type: ignore[misc]  # mypy cannot infer a lambda's default


def repeated(call: Callable[[], T]) -> T:
    """As the sidecars do: a record that is sealed anew under a call makes it ABORTED."""
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                raise


class Traffic:
    """Lives of volumes, one after the other, until stopped."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sealed_with: list[str] = []
        self.failures: list[str] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            try:
                self.sealed_with.append(self._site.live(f"traffic-{count}"))
            except grpc.RpcError as error:
                self.failures.append(str(error))

    def more(self, key: str) -> None:
        """Wait for another life with that key."""
        known = len(self.sealed_with)
        until(lambda: key in self.sealed_with[known:], self._site.controller, self._site.node)


@pytest.fixture
def site(start: Start, tmp_path: Path) -> Site:
    return Site(start, tmp_path)


def test_a_key_is_exchanged_while_volumes_are_published_and_staged(site: Site) -> None:
    lasting = site.calls.create("lasting")
    sealed_by_old = site.calls.publish(lasting, site.node_id)
    site.stage(lasting, sealed_by_old)
    with Traffic(site) as traffic:
        traffic.more("old")
        site.use("new", "old")
        traffic.more("new")
        site.wait_for_keys("new", "old")
        site.stage(lasting, sealed_by_old)  # the same again, as after a restart of the kubelet
        resealed = ("records resealed", '"key": "new"')
        until(lambda: site.saw(*resealed, driver=site.controller), site.controller)
        site.use("new")
        site.wait_for_keys("new")
        traffic.more("new")
    assert traffic.failures == []
    assert set(traffic.sealed_with) == {"old", "new"}

    site.unstage(lasting)
    with pytest.raises(grpc.RpcError, match="sealed with key 'old', which is not configured;"):
        site.stage(lasting, sealed_by_old)
    again = site.calls.publish(lasting, site.node_id)
    assert again["connection"].startswith("k:new:")
    site.stage(lasting, again)
    site.unstage(lasting)
    site.calls.unpublish(lasting, site.node_id)
    site.calls.delete(lasting)


def test_a_node_with_keys_refuses_what_is_not_sealed_or_sealed_by_somebody_else(site: Site) -> None:
    volume = site.calls.create("v")
    true = site.calls.publish(volume, site.node_id)["connection"]
    plain = "plain:" + base64.b64encode(b'{"protocol": "local", "data": {"device_path": "/etc/shadow"}}').decode()
    for forged, why in ((plain, "is not sealed"), (f"{true[:-8]}AAAAAAA=", "cannot be unsealed")):
        with pytest.raises(grpc.RpcError, match=why) as refused:
            site.stage(volume, {"connection": forged})
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_file_of_keys_that_breaks_changes_nothing(site: Site) -> None:
    site.keys.write_text("- {id: new, key: too-short}\n")
    for driver in (site.controller, site.node):
        until(lambda driver=driver: site.saw("sealing keys reload failed", driver=driver), driver)  # type: ignore[misc]  # as above
    assert site.live("v") == "old"
    assert not site.saw("too-short", driver=site.node)
