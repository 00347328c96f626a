"""Back ends as a controller runs them, each in its own process, for tests without a controller."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.sources import Sources
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.config.settings import BackendSettings, LogSettings, Settings
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from tests.support.fakes.stores import ObservedStore

NOTHING = "tests.support.fakes.nothing.NothingDriver"
Run = Callable[..., tuple[RunningBackends, Backends]]


@pytest.fixture
def counted() -> list[tuple[str, str]]:
    """The restarts that were counted, with their reasons."""
    return []


@pytest.fixture
def run(tmp_path: Path, counted: list[tuple[str, str]]) -> Iterator[Run]:
    """Begin to run the back ends of these settings."""
    store, begun = ObservedStore(), list[RunningBackends]()

    def make(settings: BackendSettings) -> RemoteBackend:
        def assign(is_first: bool) -> Assignment:
            log = LogSettings(format="text")
            return Assignment(settings=settings, state_dir=tmp_path, traits=store.traits, log=log)

        return RemoteBackend(assign, store=store, deadline=Deadline(), bulkhead=Bulkhead(64, lambda: 1), owner="me")

    def run(
        *back_ends: BackendSettings, directory: str = "", sources: Sources | None = None
    ) -> tuple[RunningBackends, Backends]:
        registry = Backends()
        settings = Settings(backends=back_ends, backends_directory=directory, state_dir=tmp_path)
        running = RunningBackends(
            settings,
            Stopping(),
            registry,
            make,
            restarted=lambda name, why: counted.append((name, why)),
            sources=sources,
        )
        begun.append(running)
        running.start()
        return running, registry

    yield run
    for running in begun:
        running.close()
    forking.cool_down()


def wait_for(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
