"""Two controllers on one database and one back end: one is active, the other stands by, and each name is one volume."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.app.leadership import FILE
from csi_cinderlib.commands import running as commands
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model import nodes
from csi_cinderlib.persistence.lease import KEY, TIMING
from tests.program.serve.conftest import RETRIED, Calls, Start, until, whole_log
from tests.program.serve.replicas import (
    FAIL_OVER,
    Rows,
    Site,
    ask_both,
    kill,
    logged_at,
    patiently,
    persist,
    seconds_until_ready,
    wait_for_log,
)
from tests.support.fakes.array import Array
from tests.support.processes import drivers
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


def is_ready(driver: DriverProcess) -> bool:
    return bool(csi_pb2_grpc.IdentityStub(driver.channel).Probe(csi_pb2.ProbeRequest(), timeout=60).ready.value)


def test_a_standby_is_not_ready_and_names_the_active_controller(site: Site) -> None:
    leader, standby = site.pair()
    assert is_ready(leader)
    assert not is_ready(standby)
    with pytest.raises(grpc.RpcError, match=r"standby: \S+ holds the lease") as refused:
        Calls(standby).create("v")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert Calls(leader).create("v")
    assert len(site.files()) == 1
    assert "back end ready" not in whole_log(standby)
    active, waiting = (
        commands.request(Settings(state_dir=each.state_dir), "GET", "/status") for each in (leader, standby)
    )
    assert (active["state"], active["leadership"]["role"]) == ("ready", "leader")
    assert (waiting["state"], waiting["leadership"]["role"], waiting["backends"]) == ("standby", "standby", [])
    assert waiting["leadership"]["holder"] == active["leadership"]["identity"]
    with pytest.raises(commands.Refused, match=r"standby: .* holds the lease"):
        commands.request(Settings(state_dir=standby.state_dir), "POST", "/backends/shared/restart")


def test_the_same_names_asked_of_both_at_once_are_one_volume_each(site: Site) -> None:
    ask_both(site, site.pair(), [f"pvc-{number}" for number in range(NAMES)])


def lease(database: PostgreSQL) -> str:
    """As it lies in the database."""
    ((body,),) = database.query("SELECT body FROM key_values WHERE id = %s", KEY)
    return str(body)


def identity(controller: DriverProcess) -> str:
    return (controller.state_dir / FILE).read_text().split()[-1]


def test_a_standby_takes_over_at_once_when_the_active_controller_is_stopped(site: Site, database: PostgreSQL) -> None:
    leader, standby = site.pair()
    Calls(leader).create("v")
    wait_for_log(leader, "records resealed")  # the lease's among them
    leader.terminate()
    assert leader.wait(60) == 0
    ended = datetime.now(UTC)
    left = lease(database)
    assert "holder" in left, "it is sealed, and so of before the end"
    assert identity(leader) not in left, "the standby would wait for it to run out"
    assert seconds_until_ready(standby, time.monotonic()) < FAIL_OVER
    waited = logged_at(standby, "active controller role acquired") - ended
    assert waited.total_seconds() < TIMING.duration / 2
    assert len(Calls(standby).volumes()) == 1


@pytest.mark.parametrize("point", ["create-volume.driver-done:2", "create-volume.record-written:2"])
def test_what_a_killed_controller_was_making_the_standby_finishes(site: Site, point: str) -> None:
    leader, standby = site.pair(point)
    Calls(leader).create("whole")
    with pytest.raises(grpc.RpcError):
        Calls(leader).create("begun")
    assert leader.wait(60) == -signal.SIGKILL
    died = time.monotonic()
    assert sorted(status for _, status in site.rows()) == ["available", "creating"]
    assert seconds_until_ready(standby, died) < FAIL_OVER
    Calls(standby).create("begun")
    assert site.is_whole(["whole", "begun"])


def test_a_controller_that_starts_again_on_its_state_directory_need_not_wait_for_its_own_lease(site: Site) -> None:
    leader = site.controller("leader")
    leader.wait_until_ready()
    killed = kill(leader)
    leader.wait(60)
    again = site.controller("leader")
    assert seconds_until_ready(again, killed) < FAIL_OVER
    assert "not the active controller" not in whole_log(again), "it has waited"


def test_a_leader_killed_among_many_creates_leaves_no_volume_twice(site: Site) -> None:
    leader, standby = site.pair()
    names: list[str] = []

    def create_until_interrupted() -> None:
        for number in count():
            names.append(f"pvc-{threading.get_ident()}-{number}")
            try:
                Calls(leader).create(names[-1])
            except grpc.RpcError:
                return

    with ThreadPoolExecutor(16) as pool:
        callers = [pool.submit(create_until_interrupted) for _ in range(16)]
        try:
            until(lambda: len(site.files()) >= NAMES // 4, leader)
        finally:
            killed = kill(leader)
        for caller in callers:
            caller.result()
    assert seconds_until_ready(standby, killed) < FAIL_OVER
    codes: set[grpc.StatusCode] = set()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: patiently([standby], name, codes), names))
    assert sorted(answers) == [id for id, _ in site.rows()]
    assert codes <= set(RETRIED)
    assert site.is_whole(names)
    standby.terminate()
    assert standby.wait(60) == 0
    site.controller("leader").wait_until_ready()
    assert site.everything() == site.files(), "what was not finished goes at the next start"


def test_a_controller_that_cannot_reach_the_store_ends_at_the_renew_deadline(site: Site, database: PostgreSQL) -> None:
    leader = site.controller("leader")
    leader.wait_until_ready()
    database.kill()
    away = datetime.now(UTC)
    assert leader.wait(60) == 1
    told = logged_at(leader, "active controller role lost")
    assert (told - away).total_seconds() < TIMING.deadline + 5
    database.start()
    site.controller("leader").wait_until_ready()


def array(file: Path, *faults: str) -> str:
    """A back end that does one call at a time."""
    options = f"{{nothing_array_file: {file}, nothing_faults: {list(faults)}}}"
    return f"{{driver: tests.support.fakes.array_driver.ArrayDriver, max_concurrent_calls: 1, options: {options}}}"


def wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_controller_that_was_stopped_past_its_lease_calls_no_driver_and_ends(site: Site, tmp_path: Path) -> None:
    """It stops between two calls of one attachment, with creations and a deletion waiting behind it."""
    file = tmp_path / "array.log"
    leader = site.controller("leader", backend=array(file, "create_export:1@after=stop"))
    leader.wait_until_ready()
    standby = site.controller("standby", backend=array(file))
    wait_for_log(standby, "holds the lease")
    volume, doomed = Calls(leader).create("attached"), Calls(leader).create("deleted")
    here, there = (nodes.encode({"host": name, "initiator": f"iqn.{name}"}) for name in ("here", "there"))
    names = [f"pvc-{number}" for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        driver = drivers(leader.pid)["shared"]
        publishing = pool.submit(Calls(leader).publish, volume, here)
        wait_until_stopped(driver)
        os.kill(leader.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            assert seconds_until_ready(standby, stopped) < FAIL_OVER
            until(
                lambda: not Path(f"/proc/{driver}").exists(), seconds=10
            )  # else it could go on before its controller does
            codes: set[grpc.StatusCode] = set()
            persist(lambda calls: calls.unpublish(volume, here), [standby], codes)
            persist(lambda calls: calls.publish(volume, there), [standby], codes)
            persist(lambda calls: calls.delete(doomed), [standby], codes)
            created = [patiently([standby], name, codes) for name in names]
        finally:
            before = [event for event in Array(file).events() if event.pid == driver]
            os.kill(leader.pid, signal.SIGCONT)
        assert leader.wait(60) == 1
        assert isinstance(publishing.exception(), grpc.RpcError)
    assert "active controller role lost" in leader.log()
    assert [event for event in Array(file).events() if event.pid == driver] == before
    assert {lun.name for lun in Array(file).luns()} == {f"volume-{id}" for id in (volume, *created)}
    (attached,) = (lun for lun in Array(file).luns() if lun.name == f"volume-{volume}")
    assert len(attached.hosts) == 1
    assert "there" in attached.hosts.pop()


def test_a_lease_is_not_released_while_a_driver_is_at_work(site: Site, database: PostgreSQL, tmp_path: Path) -> None:
    """It is asked to end, and the call does not end in the time that it gets."""
    leader = site.controller("leader", backend=array(tmp_path / "array.log", "create_volume:1=hang"))
    leader.wait_until_ready()
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(Calls(leader).create, "v")
        until(lambda: [status for _, status in site.rows()] == ["creating"], leader)
        leader.terminate()
        assert leader.wait(60) == 0
        assert isinstance(creating.exception(), grpc.RpcError)
    assert identity(leader) in lease(database)
