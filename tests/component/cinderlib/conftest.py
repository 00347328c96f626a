"""Set-ups of the library: each driver that can run anywhere, on each kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Backend, Library
from csi_cinderlib.persistence.memory import MemoryStore

NOTHING = "tests.support.fakes.nothing.NothingDriver"
LEGACY = "tests.support.fakes.legacy.LegacyDriver"
LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"


def storage(name: str, directory: Path) -> dict[str, Any]:
    """A `persistence_config`."""
    if name == "db":
        return {"storage": "db", "connection": f"sqlite:///{directory / 'volumes.db'}"}
    return {"storage": name}


def options(driver: str, directory: Path) -> dict[str, Any]:
    """Arguments of `Backend`."""
    own = {"loopfile_directories": [str(directory / "volumes")]} if driver == LOOPFILE else {}
    return {"volume_driver": driver, **own}


class Failing(MemoryStore):
    """A store that can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: Callable[[str, Any], bool] = lambda _call, _record: False

    def _maybe(self, call: str, record: Any) -> None:
        if self.fails(call, record):
            raise errors.StoreUnavailable("the metadata store is away")

    def add(self, record: Any) -> Any:
        self._maybe("add", record)
        return super().add(record)

    def replace(self, record: Any) -> Any:
        self._maybe("replace", record)
        return super().replace(record)

    def get(self, kind: Any, id: str) -> Any:
        self._maybe("get", None)
        return super().get(kind, id)

    def is_current(self, record: Any, /) -> bool:
        self._maybe("get", None)
        return super().is_current(record)


@pytest.fixture(params=["memory", "db"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    made = Library(persistence_config=storage(request.param, tmp_path))
    yield made
    made.close()


@pytest.fixture(params=[NOTHING, LOOPFILE], ids=["nothing", "loopfile"])
def backend(request: pytest.FixtureRequest, library: Library, tmp_path: Path) -> Backend:
    return library.backend("here", **options(request.param, tmp_path))


@pytest.fixture
def fake(library: Library) -> Backend:
    """A back end that can be told to fail: `fake.configuration.nothing_fail` names methods."""
    return library.backend("fake", volume_driver=NOTHING)


@pytest.fixture
def process_wide() -> Iterator[Any]:
    """The module's functions and classes, with no set-up before and after."""
    cinderlib.close()
    yield cinderlib
    cinderlib.close()


CONNECTOR = {"host": "node-1", "ip": "127.0.0.1", "initiator": "iqn.2010-10.test:node-1", "multipath": False}
