"""Two controllers on one database and one directory of volumes: whoever is asked, and whoever dies, each name is one volume."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.provisioning.owners import LEASE
from tests.program.serve.conftest import RETRIED, Calls, Start
from tests.program.serve.replicas import Rows, Site, ask_both, patiently
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

NAMES = 40


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


@pytest.fixture
def site(database: PostgreSQL, start: Start, tmp_path: Path) -> Site:
    def rows() -> Rows:
        return [(id, status) for id, status in database.query("SELECT id, status FROM volumes ORDER BY id")]

    return Site(f"{{plugin: sql, options: {{url: '{database.url}'}}}}", rows, start, tmp_path)


def test_the_same_names_asked_of_both_at_once_are_one_volume_each(site: Site) -> None:
    both = [site.controller("c1"), site.controller("c2")]
    for driver in both:
        driver.wait_until_ready()
    ask_both(site, both, [f"pvc-{number}" for number in range(NAMES)])


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
        assert driver.wait(60) == -signal.SIGKILL
    died = time.monotonic()
    creating = [id for id, status in site.rows() if status == "creating"]
    assert len(creating) == len(killed)
    assert len({f"volume-{id}" for id in creating} & set(site.files())) == 1, "only one of them reached the driver"

    codes: set[grpc.StatusCode] = set()
    with pytest.raises(grpc.RpcError, match="is at work on volume") as refused:
        Calls(survivor).create("created")
    assert refused.value.code() is grpc.StatusCode.ABORTED, "the other one might live"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: patiently(survivor, name, codes), killed))
    assert sorted(answers) == creating
    assert time.monotonic() - died > LEASE * 0.9
    assert site.is_whole([*killed, *(f"whole-{name}" for name in killed)])


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
    assert sorted(answers) == [id for id, _ in site.rows()]
    assert codes <= set(RETRIED)
    assert site.is_whole(names)
    site.controller("leader").wait_until_ready()
    assert site.everything() == site.files(), "what was not finished goes at the next start"
