"""Fixtures: one Cinder for all tests of a folder, and back ends on it that are stopped again. A folder's conftest imports what it uses."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime, served
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.observe import logs
from tests.support.fakes.stores import ObservedStore

NOTHING = "tests.support.fakes.nothing.NothingDriver"

MakeBackend = Callable[..., LocalBackend]


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    made = Runtime(tmp_path_factory.mktemp("state"))
    made.start()
    yield made
    made.close()


@pytest.fixture
def store() -> ObservedStore:
    return ObservedStore()


@pytest.fixture
def make(runtime: Runtime, store: ObservedStore) -> Iterator[MakeBackend]:
    """Make a back end: `make("name", driver=..., option=value, ...)`; started unless `start=False`, and its exports walked unless
    `walked=False`."""
    made: list[LocalBackend] = []

    def backend(
        name: str = "fake", *, driver: str = NOTHING, start: bool = True, walked: bool = True, **options: Any
    ) -> LocalBackend:
        own = {key: options.pop(key) for key in ("max_concurrent_calls", "stats_seconds", "topology") if key in options}
        given = {
            key: options.pop(key)
            for key in (
                "store",
                "owner",
                "is_alive",
                "volume_types",
                "clock",
                "runtime",
                "ensure_exports",
                "check_lease",
            )
            if key in options
        }
        settings = BackendSettings(name=name, driver=driver, options=options, **own)
        one = LocalBackend(settings, **{"store": store, "runtime": runtime, "owner": "me", **given})
        made.append(one)
        if start:
            one.start()
            if walked:
                one.wait_for_exports()
        return one

    yield backend
    for one in made:
        one.stop()


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make()


@pytest.fixture(autouse=True)
def every_database_call_is_served(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test fails when Cinder or a driver asked for something of the database that is not served, even if it hid the error."""
    served().refused.clear()
    yield
    refused = set(served().refused)
    served().refused.clear()
    if not request.node.get_closest_marker("unserved"):
        assert not refused, f"Cinder asked its database for {sorted(refused)}"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What this process logs."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(format="json", stream=stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
