"""Controllers that share a store and a back end, and callers that are as patient as the sidecars."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import grpc

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.sealing import generate_key
from tests.program.serve.conftest import RETRIED, Calls, Start, whole_log

PATIENCE = 120
"""Seconds until the standby has taken over and dealt with everything that the other one left."""
FAIL_OVER = 45.0
"""Seconds from the loss of the active controller until the standby is ready: 19 for the lease, and what a busy machine needs to start."""

Rows = list[tuple[str, str]]
"""Id and status of each record of a volume, by id."""
T = TypeVar("T")


class Site:
    """Controllers on one store and one back end.

    Args:
        store: the setting, in YAML's flow style.
        rows: what the store holds, asked of itself.
    """

    def __init__(self, store: str, rows: Callable[[], Rows], start: Start, base: Path) -> None:
        self.rows = rows
        self._start = start
        self._volumes = base / "volumes"
        self._settings = f"store: {store}\nsealing_keys: [{{id: k, key: {generate_key()}}}]\n"
        self._backend = f"{{driver: csi_cinderlib.drivers.loopfile.LoopFileDriver, options: {{loopfile_directories: [{self._volumes}]}}}}"

    def controller(self, name: str, kill_at: str = "", backend: str = "") -> DriverProcess:
        """A controller that has just been started.

        Args:
            backend: instead of the loop files, in YAML's flow style.
        """
        environment = {"CINDERLIB_FAULT_POINT": kill_at} if kill_at else {}
        config = f"{self._settings}backends: {{shared: {backend or self._backend}}}\n"
        return self._start("--mode", "controller", name=name, config=config, environment=environment)

    def pair(self, kill_at: str = "") -> tuple[DriverProcess, DriverProcess]:
        """The active controller and its standby."""
        leader = self.controller("leader", kill_at)
        leader.wait_until_ready()
        standby = self.controller("standby")
        wait_for_log(standby, "holds the lease")
        return leader, standby

    def files(self) -> list[str]:
        """The volumes on the back end, whatever the database says."""
        return sorted(path.name for path in self._volumes.glob("volume-*"))

    def everything(self) -> list[str]:
        """The same, and what is not finished there."""
        return sorted(path.name for path in self._volumes.rglob("*") if path.is_file() and path.name != ".lock")

    def is_whole(self, names: Sequence[str]) -> bool:
        """There is one volume for each of these names, in the store and on the back end, and nothing else."""
        rows = self.rows()
        assert [status for _, status in rows] == ["available"] * len(names)
        assert self.files() == [f"volume-{id}" for id, _ in rows]
        return True


def ask_both(site: Site, both: Sequence[DriverProcess], names: Sequence[str]) -> None:
    """Ask both for each name, twice and all at once, and end the active controller (the first) meanwhile. Then delete in the same way."""
    codes: set[grpc.StatusCode] = set()
    with ThreadPoolExecutor(32) as pool:
        asked = [(name, pool.submit(patiently, order, name, codes)) for name in names for order in (both, both[::-1])]
        while len(site.files()) < len(names) // 4:
            time.sleep(0.005)
        both[0].terminate()
        answers = defaultdict(set)
        for name, answer in asked:
            answers[name].add(answer.result())
    found = [id for name in names for id in answers[name]]
    assert sorted(found) == [id for id, _ in site.rows()]
    assert codes <= set(RETRIED)
    assert site.is_whole(names)
    assert len(Calls(both[1]).volumes()) == len(names)
    with ThreadPoolExecutor(32) as pool:
        deleted = [pool.submit(persist, lambda calls, id=id: calls.delete(id), both, codes) for id in (*found, *found)]
        for call in deleted:
            call.result()
    assert (site.everything(), site.rows()) == ([], [])


def patiently(drivers: Sequence[DriverProcess], name: str, codes: set[grpc.StatusCode]) -> str:
    """Create a volume."""
    return persist(lambda calls: calls.create(name), drivers, codes)


def persist(call: Callable[[Calls], T], drivers: Sequence[DriverProcess], codes: set[grpc.StatusCode]) -> T:
    """Call as the sidecars in several pods do: again and again, until one controller gives an answer that is final."""
    deadline = time.monotonic() + PATIENCE
    for driver in itertools.cycle(drivers):
        try:
            return call(Calls(driver, timeout=60))
        except grpc.RpcError as error:
            codes.add(error.code())
            if error.code() not in RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(0.1)
    raise AssertionError("no controller to ask")


def wait_for_log(driver: DriverProcess, text: str) -> None:
    """Wait until the process has logged this."""
    deadline = time.monotonic() + PATIENCE
    while text not in whole_log(driver):
        assert time.monotonic() < deadline, driver.log()
        time.sleep(0.02)


def logged_at(driver: DriverProcess, event: str) -> datetime:
    """When the process last logged this event."""
    lines = [json.loads(line) for line in whole_log(driver).splitlines() if line.startswith("{")]
    return datetime.fromisoformat([line["time"] for line in lines if line["event"] == event][-1])


def kill(driver: DriverProcess) -> float:
    """End it without notice; when that was."""
    os.kill(driver.pid, signal.SIGKILL)
    return time.monotonic()


def seconds_until_ready(driver: DriverProcess, since: float) -> float:
    driver.wait_until_ready()
    return time.monotonic() - since
