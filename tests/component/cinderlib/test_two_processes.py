"""Two processes on one database: none touches what the other one is still at work on, and each takes over from a dead one."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import KeyValue, Library
from csi_cinderlib.cinderlib.presence import Presence, Process, _ticks
from csi_cinderlib.model import records
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning import heartbeats
from csi_cinderlib.provisioning.heartbeats import Owners
from tests.component.cinderlib.conftest import NOTHING
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

ROOT = Path(__file__).parents[3]
CREATES = f"""
import sys
from csi_cinderlib.cinderlib import Library
library = Library(persistence_config={{"storage": "db", "connection": sys.argv[1]}})
backend = library.backend("fake", volume_driver={NOTHING!r})
def slow(volume):
    print("at work", flush=True)
    sys.stdin.read()
    return {{}}
backend.driver.create_volume = slow
backend.create_volume(1, id=sys.argv[2])
library.close()
"""
ID = "5a1d2c7e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    for server in running(PostgreSQL):
        yield server.url


@pytest.fixture
def library(database: str) -> Iterator[Library]:
    made = Library(persistence_config={"storage": "db", "connection": database})
    yield made
    made.close()


@pytest.fixture
def creating(database: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the middle of a creation."""
    child = subprocess.Popen(
        [sys.executable, "-c", CREATES, database, ID],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], 240)[0]
        assert child.stdout.readline() == "at work\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_what_another_process_is_creating_is_left_to_it(library: Library, creating: subprocess.Popen[str]) -> None:
    backend = library.backend("fake", volume_driver=NOTHING)
    (volume,) = backend.volumes_filtered(volume_id=ID)
    with pytest.raises(errors.OperationPending, match="is being processed by"):
        volume.delete()
    assert backend.driver.calls["delete_volume"] == 0
    creating.communicate(timeout=240)  # the end of its input lets it go on
    assert creating.returncode == 0
    volume.refresh()
    assert volume.status == "available"
    volume.delete()


def test_what_a_killed_process_was_creating_is_deleted(library: Library, creating: subprocess.Popen[str]) -> None:
    backend = library.backend("fake", volume_driver=NOTHING)
    (volume,) = backend.volumes_filtered(volume_id=ID)
    creating.kill()
    creating.wait(timeout=240)
    volume.delete()
    assert backend.driver.calls["delete_volume"] == 1
    assert backend.volumes_filtered(volume_id=ID) == []


def test_two_set_ups_of_one_process_are_two(library: Library) -> None:
    store = MemoryStore()
    first, second = (Library(persistence_config={"storage": store}) for _ in range(2))
    begun, go_on = threading.Event(), threading.Event()

    def slow(_volume: object) -> None:
        begun.set()
        assert go_on.wait(60)

    try:
        mine, theirs = (one.backend("fake", volume_driver=NOTHING) for one in (first, second))
        mine.driver.create_volume = slow
        working = threading.Thread(target=mine.create_volume, args=(1,))
        working.start()
        assert begun.wait(60)
        (volume,) = theirs.volumes_filtered()
        with pytest.raises(errors.OperationPending):
            volume.delete()
        go_on.set()
        working.join()
        volume.delete()
    finally:
        go_on.set()
        first.close()
        second.close()


def elsewhere(**changes: object) -> str:
    """A process of another machine."""
    known = Process.this("other-host")
    values = {"place": "elsewhere", "pid": 1, "ticks": 1, "since": known.since, **changes}
    return str(Process(host="other-host", **values))  # type: ignore[arg-type]  # as above


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    me = Process.this("here")
    presence = Presence(MemoryStore(), str(me))
    assert Process.parse(str(me)) == me
    assert not presence.alive(str(me))
    assert not presence.alive("")
    other = Process(me.host, me.place, me.pid, me.ticks, me.since + 1)
    assert presence.alive(str(other))
    assert not presence.alive(str(Process(me.host, me.place, me.pid, me.ticks - 1, me.since)))
    child = subprocess.Popen(["sleep", "60"])
    ticks = _ticks(child.pid)
    assert ticks is not None
    name = str(Process(me.host, me.place, child.pid, ticks, me.since))
    assert presence.alive(name)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not presence.alive(name), "it is a zombie"
    child.wait()
    assert not presence.alive(name)


def test_a_process_elsewhere_lives_for_a_lease_after_its_last_sign() -> None:
    store, clock = MemoryStore(), [time.time()]
    presence = Presence(store, str(Process.this("here")), now=lambda: clock[0])
    young, old = elsewhere(), elsewhere(since=1)
    assert presence.alive(young)
    assert not presence.alive(old)
    Owners(store, owner=old).beat()
    assert presence.alive(old)
    clock[0] += heartbeats.LEASE + 1
    assert not presence.alive(young)
    assert not presence.alive(old)
    assert not presence.alive("a-controller-of-before")


def test_signs_of_life_are_given_and_taken_back_and_users_do_not_see_them(library: Library) -> None:
    name = elsewhere()
    presence = Presence(library.store, name, beat=0.05)
    presence.start()
    key = f"owner.{name}"
    library.persistence.set_key_value(KeyValue("owner.of-the-dog", "me"))
    deadline = time.monotonic() + 60
    while key not in [one.id for one in library.store.page(records.KeyValue).records]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [one.key for one in library.persistence.get_key_values()] == ["owner.of-the-dog"]
    presence.stop()
    assert [one.id for one in library.store.page(records.KeyValue).records] == ["owner.of-the-dog"]
