"""The beds of the back-end contract, see tests/support/fakes/beds.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import Runtime, served
from tests.support.fakes.beds import Bed, Place, beds
from tests.support.fakes.crashing import Killed


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    made = Runtime(tmp_path_factory.mktemp("state"))
    made.start()
    yield made
    made.close()


@pytest.fixture(params=beds(), ids=lambda bed: bed.name)
def bed(request: pytest.FixtureRequest) -> Bed:
    found: Bed = request.param
    return found


@pytest.fixture
def place(bed: Bed, tmp_path: Path, runtime: Runtime) -> Iterator[Place]:
    made = Place(bed, tmp_path, runtime)
    yield made
    forgotten = made.unrecorded()
    made.close()
    assert forgotten == [], "the array has what no record knows"


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Runs single steps in processes that are killed in the middle."""
    with Killed(tmp_path_factory.mktemp("warm-up")) as processes:
        yield processes


@pytest.fixture(autouse=True)
def every_database_call_is_served() -> Iterator[None]:
    """The contract is broken when a driver asks for something of Cinder's database that is not served."""
    served().refused.clear()
    yield
    assert not served().refused
