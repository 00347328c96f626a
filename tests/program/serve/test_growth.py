"""Promise 19: a process that has worked for long is no larger than one that has worked for a little."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model import nodes
from tests.program.serve.conftest import Calls, Start

NOTHING = "backends: {array: {driver: tests.support.fakes.nothing.NothingDriver}}\nlog: {level: warning}\n"
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
ROOT = {"PYTHONPATH": str(Path(__file__).parents[3])}
CALLERS = 16
WARM = 2_000
"""Calls after which caches and thread stacks have their size."""
MANY = 10_000
GROWTH = 4_000
"""KiB: half a KiB for each call between the two, which is less than anything would take that is kept of each."""


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        memory: KiB of physical memory.
    """

    memory: int
    files: int
    threads: int


def held(driver: DriverProcess) -> Held:
    process = Path(f"/proc/{driver.pid}")
    resident = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    return Held(int(resident.split()[1]), *(len(list((process / name).iterdir())) for name in ("fd", "task")))


def check(before: Held, after: Held) -> None:
    assert after.memory - before.memory < GROWTH, (before, after)
    # Connections to the database are kept for as many threads as worked at once, which a busy machine decides.
    assert after.files <= before.files + 64, (before, after)
    assert after.threads <= before.threads + CALLERS, (before, after)


def lives(driver: DriverProcess, names: Iterator[int], calls: int) -> None:
    """So many calls: create, publish, unpublish, delete, by several callers."""
    controller = Calls(driver)
    node_id = nodes.encode({"host": "n1", "initiator": "iqn.n1"})

    def life(number: int) -> None:
        volume_id = controller.create(f"pvc-{number}")
        controller.publish(volume_id, node_id)
        controller.unpublish(volume_id, node_id)
        controller.delete(volume_id)

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(life, [next(names) for _ in range(calls // 4)]))


@pytest.mark.timeout(600)
def test_a_controller_is_as_large_after_10000_calls_as_after_2000(start: Start) -> None:
    driver = start("--mode", "controller", config=NOTHING, environment=ROOT)
    driver.wait_until_ready()
    names = count()
    lives(driver, names, WARM)
    before = held(driver)
    lives(driver, names, MANY - WARM)
    check(before, held(driver))
    assert Calls(driver).volumes() == {}, "every volume was deleted: nothing is to be remembered"


@pytest.mark.timeout(600)
def test_a_node_keeps_nothing_of_the_kubelets_connections(start: Start) -> None:
    """The kubelet opens a new one for each call."""
    driver = start("--mode", "node")
    driver.wait_until_ready()
    connect(driver, 300)
    before = held(driver)
    connect(driver, 1_500)
    check(before, held(driver))


def connect(driver: DriverProcess, times: int) -> None:
    for _ in range(times):
        with grpc.insecure_channel(f"unix:{driver.socket}", OWN_CONNECTION) as channel:
            csi_pb2_grpc.NodeStub(channel).NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest(), timeout=60)
