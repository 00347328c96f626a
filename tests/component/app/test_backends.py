"""The back ends of a controller, each kept running whatever happens to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import persist, restarts
from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.persist import Stopping
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.api import NOT_STARTED
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.backend.registry import Backends
from csi_cinderlib.config.settings import BackendSettings, LogSettings, Settings
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle.remote import RemoteBackend
from tests.support.fakes.stores import ObservedStore

NOTHING = "tests.support.fakes.nothing.NothingDriver"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., tuple[RunningBackends, Backends]]]:
    """Begin to run the back ends of these settings."""
    store, begun = ObservedStore(), list[RunningBackends]()

    def make(settings: BackendSettings) -> RemoteBackend:
        def assign(is_first: bool) -> Assignment:
            log = LogSettings(format="text")
            return Assignment(settings=settings, state_dir=tmp_path, owner="me", traits=store.traits, log=log)

        return RemoteBackend(assign, store=store, deadline=Deadline(), bulkhead=Bulkhead(64, lambda: 1))

    def run(*back_ends: BackendSettings) -> tuple[RunningBackends, Backends]:
        registry = Backends()
        running = RunningBackends(Settings(backends=back_ends, state_dir=tmp_path), Stopping(), registry, make)
        begun.append(running)
        running.start()
        return running, registry

    yield run
    for running in begun:
        running.close()
    forking.cool_down()


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_start_that_fails_as_nobody_foresaw_is_tried_again(
    run: Callable[..., tuple[RunningBackends, Backends]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the limit of processes and threads is reached for a while."""
    failures = iter([RuntimeError("can't start new thread")] * 2)

    class Process(forking.Process):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            for failure in failures:
                raise failure
            super().__init__(*arguments, **named)

    monkeypatch.setattr(persist, "RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(forking, "Process", Process)
    _, registry = run(BackendSettings(name="quick", driver=NOTHING))
    wait_for(lambda: registry.all()[0].ready)


def test_a_back_end_that_was_given_up_is_started_when_an_administrator_asks_for_it(
    run: Callable[..., tuple[RunningBackends, Backends]], tmp_path: Path
) -> None:
    """Its array may have refused a value that is right by now."""
    journal = tmp_path / "journal"
    refused = {
        "nothing_fail": ["check_for_setup_error"],
        "nothing_exception": "InvalidParameterValue",
        "nothing_journal": str(journal),
    }
    running, registry = run(
        BackendSettings(name="refused", driver=NOTHING, options=refused), BackendSettings(name="well", driver=NOTHING)
    )
    back_end = registry.all()[0]
    wait_for(lambda: back_end.failure != NOT_STARTED)
    assert "the array says no" in back_end.failure
    request = tmp_path / restarts.DIRECTORY / "refused"
    request.parent.mkdir()
    request.write_text("")
    wait_for(lambda: "start-refused" not in {thread.name for thread in threading.enumerate()})
    running.obey()
    assert not request.exists()
    wait_for(lambda: journal.read_text().count("check_for_setup_error") == 2)
