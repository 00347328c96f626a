"""How the controller's half of a process ends, and when only a restart helps it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app import controller
from csi_cinderlib.app.console import Console
from csi_cinderlib.app.controller import ControllerSide
from csi_cinderlib.app.keys import Keys
from csi_cinderlib.app.leadership import Leadership
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.backend import forking
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.errors import BackendUnavailable, LeaseLost
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model.records import Node
from csi_cinderlib.persistence.lease import Lease, StoredLease
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes.stores import ObservedStore


@pytest.fixture(autouse=True)
def _no_warm_process_left() -> Iterator[None]:
    forking.cool_down()
    yield
    forking._warm.note(forked=True)
    forking.cool_down()


def side_with_a_back_end(state_dir: Path, **options: object) -> tuple[Readiness, RemoteBackend]:
    settings, readiness = Settings(state_dir=state_dir), Readiness()
    side = ControllerSide(settings, Console(settings, readiness, Stopping()), Keys(settings), readiness)
    side.store = ObservedStore()
    driver = "tests.support.fakes.nothing.NothingDriver"
    backend = side._make(BackendSettings(name="array", driver=driver, options=options))
    side.backends.add(backend)
    return readiness, backend


def test_without_a_process_for_any_driver_only_a_restart_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "WARM", "raise SystemExit(3)")
    readiness, backend = side_with_a_back_end(tmp_path)
    assert readiness.trouble == ""
    with pytest.raises(BackendUnavailable, match="could not be started"):
        backend.start()
    assert readiness.trouble == ""  # it may pass
    monkeypatch.setattr(controller, "FORKLESS_SECONDS", 0.0001)
    assert "no driver process could be started" in readiness.trouble
    monkeypatch.undo()
    assert forking._warm._process
    forking._warm._process.wait(60)  # until it has ended, it is asked for the next process
    backend.start()
    assert readiness.trouble == ""
    backend.stop()
    backend.kill()


def test_one_driver_that_runs_is_worth_more_than_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "FORKLESS_SECONDS", 0.0001)
    readiness, backend = side_with_a_back_end(tmp_path)
    backend.start()
    forking._warm.note(forked=False)
    time.sleep(0.001)
    assert readiness.trouble == ""
    backend.stop()
    backend.kill()
    assert "no driver process could be started" in readiness.trouble


def test_a_driver_that_fails_is_no_reason_to_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process could be started, and a new controller would not make its array answer."""
    monkeypatch.setattr(controller, "FORKLESS_SECONDS", 0.0001)
    readiness, backend = side_with_a_back_end(tmp_path, nothing_fail=["check_for_setup_error"])
    with pytest.raises(BackendUnavailable, match="the array says no"):
        backend.start()
    assert (backend.ready, readiness.trouble) == (False, "")


def test_a_lease_is_released_although_a_look_for_orphans_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends soon, since no driver is at work any more; another controller would have to wait for the lease to run out."""
    monkeypatch.setattr(controller, "SETTLED_SECONDS", 60.0)
    settings, stopping, store = Settings(state_dir=tmp_path), Stopping(), MemoryStore()
    side = ControllerSide(settings, Console(settings, Readiness(), stopping), Keys(settings), Readiness())
    record = StoredLease(store, store)
    side._leadership = Leadership(Lease(record, "me"))
    assert side._leadership.wait(stopping, Readiness())
    assert side._settling.acquire()
    threading.Timer(0.3, side._settling.release).start()
    side.close()
    assert record.read().holder == ""


def test_a_controller_that_lost_its_lease_writes_nothing_where_nodes_register(tmp_path: Path) -> None:
    """Beside a database that is another store: its successor has told the nodes of other keys perhaps."""
    settings, stopping, store = Settings(state_dir=tmp_path), Stopping(), MemoryStore()
    side = ControllerSide(settings, Console(settings, Readiness(), stopping), Keys(settings), Readiness())
    side.store, side._nodes = store, MemoryStore()
    side._leadership = Leadership(Lease(StoredLease(store, store), "me"))
    side._lead()
    side._nodes.add(Node(id="n1"))
    side._leadership.close(release=True)
    for registry in (side.store, side._nodes):
        with pytest.raises(LeaseLost):
            registry.add(Node(id="n2"))
