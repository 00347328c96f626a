"""kill -9 of the node process at each named step of staging, publishing and back, over iSCSI; then the retry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.model.connection import Formatting
from tests.guest.inside import lvm
from tests.guest.inside.footprint import Footprint
from tests.guest.inside.lio import Target
from tests.guest.inside.node_process import NodeProcess, lost
from tests.guest.inside.offer import CHAP, Offer

pytestmark = pytest.mark.guest("crash")

STAGE = [
    "intent",
    "connected",
    "device-recorded",
    "device-marked",
    "format-marked",
    "mkfs-done",
    "formatted",
    "mounted",
]
FORTH = [*(f"stage.{step}" for step in STAGE), "node-publish.target-made", "node-publish.bound"]
BACK = ["node-unpublish.unmounted", "unstage.unmounted", "unstage.disconnected"]


@pytest.fixture
def volume(group: str, initiator: str, addresses: list[str]) -> Iterator[Offer]:
    target = Target("iqn.2010-10.org.openstack:crash", addresses, chap=CHAP)
    with lvm.logical_volume(group, "crash", "80M") as device:
        offer = Offer("crash", device, target, 0, tuple(addresses))
        offer.map()
        yield offer
        target.delete()


@pytest.fixture
def node(tmp_path: Path, volume: Offer) -> Iterator[NodeProcess]:
    """Afterwards the volume is taken down as the kubelet would, and nothing may be left."""
    before = Footprint.now()
    node = NodeProcess(tmp_path)
    yield node
    node.unpublish(volume.name)
    node.unstage(volume.name)
    node.stop()
    assert Footprint.now().left_since(before) == {}


def killed(call: Callable[[], None], node: NodeProcess) -> bool:
    """Whether the process died under the call."""
    with pytest.raises(grpc.RpcError) as failure:
        call()
    return lost(failure.value) and node.died()


def come(node: NodeProcess, volume: Offer, formatting: Formatting) -> None:
    node.stage(volume.connection(formatting))
    node.publish(volume.name)


def go(node: NodeProcess, volume: Offer) -> None:
    node.unpublish(volume.name)
    node.unstage(volume.name)


@pytest.mark.parametrize("step", FORTH)
def test_the_way_to_the_pod_is_finished_by_the_retry(node: NodeProcess, volume: Offer, step: str) -> None:
    node.start(step)
    assert killed(lambda: come(node, volume, Formatting.NEVER_FORMATTED), node)
    node.start()
    come(node, volume, Formatting.NEVER_FORMATTED)
    (node.target(volume.name) / "file").write_text("data")
    assert (node.staging(volume.name) / "file").read_text() == "data"


@pytest.mark.parametrize("step", BACK)
def test_the_way_back_is_finished_by_the_retry_and_keeps_the_data(node: NodeProcess, volume: Offer, step: str) -> None:
    node.start(step)
    come(node, volume, Formatting.NEVER_FORMATTED)
    (node.target(volume.name) / "file").write_text("data")
    assert killed(lambda: go(node, volume), node)
    node.start()
    go(node, volume)
    come(node, volume, Formatting.UNKNOWN)
    assert (node.target(volume.name) / "file").read_text() == "data"
