"""Two controllers on one database and one directory of volumes: whoever is asked, and whoever dies, each name is one volume."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model import ids
from csi_cinderlib.provisioning.owners import LEASE
from csi_cinderlib.sealing import generate_key
from tests.serve.conftest import RETRIED, Calls, Start
from tests.servers.postgresql import PostgreSQL
from tests.servers.server import running

NAMES = 40
PATIENCE = LEASE + 45
"""Seconds until the survivor has dealt with everything that the other one left."""


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


class Site:
    """Controllers on one database and one back end."""

    def __init__(self, database: PostgreSQL, start: Start, base: Path) -> None:
        self._start = start
        self._database = database
        self._volumes = base / "volumes"
        self._config = (
            f"store: {{plugin: sql, options: {{url: '{database.url}'}}}}\n"
            f"sealing_keys: [{{id: k, key: {generate_key()}}}]\n"
            "backends: {shared: {driver: csi_cinderlib.drivers.loopfile.LoopFileDriver,"
            f" options: {{loopfile_directories: [{self._volumes}]}}}}}}\n"
        )

    def controller(self, name: str, kill_at: str = "") -> DriverProcess:
        environment = {"CINDERLIB_FAULT_POINT": kill_at} if kill_at else {}
        return self._start("--mode", "controller", name=name, config=self._config, environment=environment)

    def files(self) -> list[str]:
        """The volumes on the back end, whatever the database says."""
        return sorted(path.name for path in self._volumes.glob("volume-*"))

    def everything(self) -> list[str]:
        """The same, and what is not finished there."""
        return sorted(path.name for path in self._volumes.rglob("*") if path.is_file() and path.name != ".lock")

    def rows(self) -> list[tuple[str, str]]:
        return self._database.query("SELECT id, status FROM volumes ORDER BY id")


@pytest.fixture
def site(database: PostgreSQL, start: Start, tmp_path: Path) -> Site:
    return Site(database, start, tmp_path)


def patiently(driver: DriverProcess, name: str, codes: set[grpc.StatusCode]) -> str:
    """Create as the provisioner does: again and again, until there is an answer that is final."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return Calls(driver, timeout=10).create(name)
        except grpc.RpcError as error:
            codes.add(error.code())
            if error.code() not in RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def expected(*names: str) -> list[str]:
    return sorted(f"volume-{ids.volume_id(name)}" for name in names)


def test_the_same_names_asked_of_both_at_once_are_one_volume_each(site: Site) -> None:
    both = [site.controller("c1"), site.controller("c2")]
    for driver in both:
        driver.wait_until_ready()
    names = [f"pvc-{number}" for number in range(NAMES)]
    codes: set[grpc.StatusCode] = set()
    with ThreadPoolExecutor(32) as pool:
        asked = [(name, pool.submit(patiently, driver, name, codes)) for name in names for driver in (*both, *both)]
        answers = defaultdict(set)
        for name, answer in asked:
            answers[name].add(answer.result())
    assert answers == {name: {ids.volume_id(name)} for name in names}
    assert codes <= set(RETRIED)
    assert site.files() == expected(*names)
    assert site.rows() == sorted((ids.volume_id(name), "available") for name in names)
    for driver in both:
        assert len(Calls(driver).volumes()) == NAMES

    with ThreadPoolExecutor(32) as pool:
        deleted = [pool.submit(delete_patiently, driver, ids.volume_id(name)) for name in names for driver in both]
        for one in deleted:
            one.result()
    assert (site.everything(), site.rows()) == ([], [])


def delete_patiently(driver: DriverProcess, volume_id: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return Calls(driver, timeout=10).delete(volume_id)
        except grpc.RpcError as error:
            if error.code() not in RETRIED or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def test_what_killed_controllers_were_making_the_other_one_finishes_after_their_lease(site: Site) -> None:
    survivor = site.controller("survivor")
    killed = {
        "created": site.controller("a", "create-volume.driver-done:2"),
        "written": site.controller("b", "create-volume.record-written:2"),
    }
    for driver in (survivor, *killed.values()):
        driver.wait_until_ready()
    for name, driver in killed.items():
        whole = Calls(driver).create(f"whole-{name}")
        assert Calls(survivor).volumes()[whole].volume.capacity_bytes == 1024**3
        with pytest.raises(grpc.RpcError):
            Calls(driver).create(name)
        assert driver.wait(10) == -signal.SIGKILL
    died = time.monotonic()
    assert dict(site.rows())[ids.volume_id("created")] == "creating"
    assert f"volume-{ids.volume_id('created')}" in site.files()

    codes: set[grpc.StatusCode] = set()
    with pytest.raises(grpc.RpcError, match="is at work on volume") as refused:
        Calls(survivor).create("created")
    assert refused.value.code() is grpc.StatusCode.ABORTED, "the other one might live"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: patiently(survivor, name, codes), killed))
    assert answers == [ids.volume_id(name) for name in killed]
    assert time.monotonic() - died > LEASE * 0.9
    names = (*killed, *(f"whole-{name}" for name in killed))
    assert site.files() == expected(*names)
    assert site.rows() == sorted((ids.volume_id(name), "available") for name in names)


def test_a_leader_killed_among_many_creates_leaves_no_volume_twice(site: Site) -> None:
    """As with two replicas: the leader is asked, dies at some point, and all names are asked again of the next one."""
    leader, follower = site.controller("leader"), site.controller("follower")
    for driver in (leader, follower):
        driver.wait_until_ready()
    names = [f"pvc-{number}" for number in range(NAMES)]
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(Calls(leader).create, name) for name in names]
        while len(site.files()) < NAMES // 4:
            time.sleep(0.005)
        os.kill(leader.pid, signal.SIGKILL)
        interrupted = sum(isinstance(one.exception(), grpc.RpcError) for one in asked)
    assert interrupted, "it died too late to interrupt anything"
    codes: set[grpc.StatusCode] = set()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: patiently(follower, name, codes), names))
    assert answers == [ids.volume_id(name) for name in names]
    assert codes <= set(RETRIED)
    assert site.files() == expected(*names)
    assert site.rows() == sorted((ids.volume_id(name), "available") for name in names)
    site.controller("leader").wait_until_ready()
    assert site.everything() == expected(*names), "what was not finished goes at the next start"
