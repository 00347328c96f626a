"""A controller in trouble: one of its back ends hangs, or the active one of two is killed. Takes a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.lease import KEY, TIMING
from csi_cinderlib.persistence.plugins import open_store
from tests.bench.client import NOTHING, PATIENCE, REPEAT_SECONDS, Client, running
from tests.bench.rows import Row
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Unavailable

HUNG_CALLS, MEASURED_CALLS = 200, 2_000
TWO_BACK_ENDS = """
backends:
  fast: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_capacity_gb: infinite}}
  hung:
    driver: tests.support.fakes.array_driver.ArrayDriver
    options: {nothing_capacity_gb: infinite, nothing_faults: create_volume=hang}
log: {level: warning}
"""


def controllers(directory: Path) -> Iterator[Row]:
    yield _bulkhead(directory / "bulkhead")
    try:
        yield _fail_over(directory)
    except Unavailable as reason:
        print(f"controllers: fail-over skipped: {reason}", file=sys.stderr)


def _bulkhead(directory: Path) -> Row:
    """The p99 of CreateVolume beside many calls to another back end, none of which returns, against the p99 without them."""
    with running(directory, "--mode", "controller", config=TWO_BACK_ENDS) as driver:
        client = Client(driver)
        _creation_p99(client, "warm", 200)
        alone = _creation_p99(client, "alone", MEASURED_CALLS)
        with grpc.insecure_channel(f"unix:{driver.socket}") as channel:
            hung = _Hung(Client(driver, channel=channel))
            beside = _creation_p99(client, "beside", MEASURED_CALLS, hung)
            assert hung.waiting > HUNG_CALLS // 4
        driver.kill()  # its calls would hold the ordinary end
    what = f"CreateVolume p99 beside {HUNG_CALLS} calls that hang"
    return Row(what, "ms", beside * 1e3, 2 * alone * 1e3, 1.2 * alone * 1e3, alone * 1e3, "nothing else to do")


class _Hung:
    """Creations on the back end that hangs; those that the controller refuses are repeated, as the provisioner does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._calls = {name: self._begin(name) for name in (f"hung-{number}" for number in range(HUNG_CALLS))}
        self._repeated = time.monotonic()
        time.sleep(REPEAT_SECONDS)

    def _begin(self, name: str) -> grpc.CallFuture[csi_pb2.CreateVolumeResponse]:
        return self._client.begin_creation(name, backend="hung")

    @property
    def waiting(self) -> int:
        return sum(not call.done() for call in self._calls.values())

    def repeat(self) -> None:
        """If it is time to."""
        if time.monotonic() - self._repeated < REPEAT_SECONDS:
            return
        self._repeated = time.monotonic()
        for name in [name for name, call in self._calls.items() if call.done()]:
            code = self._calls[name].code()
            assert code is grpc.StatusCode.ABORTED, code
            self._calls[name] = self._begin(name)


def _creation_p99(client: Client, prefix: str, count: int, hung: _Hung | None = None) -> float:
    taken = []
    for number in range(count):
        if hung:
            hung.repeat()
        started = time.perf_counter()
        client.create(f"{prefix}-{number}", backend="fast")
        taken.append(time.perf_counter() - started)
    return sorted(taken)[count * 99 // 100]


def _fail_over(directory: Path) -> Row:
    """From SIGKILL of the active controller, just after it has renewed its lease, to the first volume that the other one makes."""
    with ExitStack() as undo:
        server = PostgreSQL()
        undo.callback(server.discard)
        server.initialize()
        config = f"{NOTHING}store: {{plugin: sql, options: {{url: '{server.url}'}}}}\n"
        leader = undo.enter_context(running(directory / "leader", "--mode", "controller", config=config))
        standby = undo.enter_context(running(directory / "standby", "--mode", "controller", config=config, ready=False))
        store = open_store("sql", {"url": server.url, "migrate": False}, state_dir=directory)
        undo.callback(store.close)
        Client(leader).create("before")
        _wait_until(lambda: _stands_by(standby))
        _wait_for_renewal(store)
        killed = time.monotonic()
        leader.kill()
        Client(standby).create_patiently("after", pause=0.05)
        seconds = time.monotonic() - killed
    return Row(
        "fail-over: leader killed to first CreateVolume", "s", seconds, 25, 20, TIMING.duration, "the lease's duration"
    )


def _stands_by(driver: DriverProcess) -> bool:
    try:
        Client(driver).create("refused")
    except grpc.RpcError as error:
        return "holds the lease" in str(error.details())
    raise AssertionError("the standby acts")


def _wait_for_renewal(store: Store) -> None:
    seen = store.get(KeyValue, KEY).revision
    _wait_until(lambda: store.get(KeyValue, KEY).revision != seen)


def _wait_until(is_done: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)
