"""The back ends of a controller, each kept running whatever happens to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import persist
from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.persist import Stopping
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.backend.registry import Backends
from csi_cinderlib.backend.remote import RemoteBackend
from csi_cinderlib.config.settings import BackendSettings, LogSettings, Settings
from csi_cinderlib.host.deadline import Deadline
from tests.support.fakes.stores import ObservedStore


def test_a_start_that_fails_as_nobody_foresaw_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the limit of processes and threads is reached for a while."""
    store, registry, failures = ObservedStore(), Backends(), iter([RuntimeError("can't start new thread")] * 2)

    class Process(forking.Process):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            for failure in failures:
                raise failure
            super().__init__(*arguments, **named)

    def make(settings: BackendSettings) -> RemoteBackend:
        def assign(is_first: bool) -> Assignment:
            log = LogSettings(format="text")
            return Assignment(settings=settings, state_dir=tmp_path, owner="me", traits=store.traits, log=log)

        return RemoteBackend(assign, store=store, deadline=Deadline(), bulkhead=Bulkhead(64, lambda: 1))

    monkeypatch.setattr(persist, "RETRY_SECONDS", (0.01,))
    monkeypatch.setattr(forking, "Process", Process)
    settings = BackendSettings(name="quick", driver="tests.support.fakes.nothing.NothingDriver")
    running = RunningBackends(Settings(backends=(settings,), state_dir=tmp_path), Stopping(), registry, make)
    running.start()
    try:
        deadline = time.monotonic() + 20
        while not registry.all()[0].ready and time.monotonic() < deadline:
            time.sleep(0.01)
        assert registry.all()[0].ready
    finally:
        running.close()
        forking.cool_down()
