"""Back ends whose drivers run in processes of their own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.backend import forking
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.config.settings import BackendSettings, LogSettings
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model.records import NOTHING, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes.stores import ObservedStore

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
VOLUME = Volume(id="0b6c6f52-3f5e-4a0e-9d0f-6f1d3c1c1a11", name="pvc-1", backend="array", size=GiB(1))
Make = Callable[..., RemoteBackend]


class Figures(list[tuple[str, str, str]]):
    def backend_called(self, backend: str, operation: str, result: str, seconds: float) -> None:
        assert 0 <= seconds < 300
        self.append((backend, operation, result))


@pytest.fixture(scope="module", autouse=True)
def _no_warm_process_left() -> Iterator[None]:
    """A program ends it by ending itself."""
    yield
    forking.cool_down()


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def store() -> ObservedStore:
    return ObservedStore()


@pytest.fixture
def deadline() -> Deadline:
    return Deadline()


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    return tmp_path / "array.log"


@pytest.fixture
def make(
    store: ObservedStore, figures: Figures, deadline: Deadline, array_file: Path, tmp_path: Path
) -> Iterator[Make]:
    made: list[RemoteBackend] = []

    def backend(
        *, start: bool = True, driver: str = ARRAY, defaults: Mapping[str, object] = NOTHING, **options: Any
    ) -> RemoteBackend:
        given = {"nothing_array_file": str(array_file), **options} if driver == ARRAY else options
        settings = BackendSettings(name="array", driver=driver, options=given, stats_seconds=0)

        def assign(is_first: bool) -> Assignment:
            return Assignment(
                settings=settings,
                state_dir=tmp_path,
                cinder_defaults=defaults,
                traits=store.traits,
                log=LogSettings(format="text"),
                measured=True,
                is_first=is_first,
            )

        one = RemoteBackend(
            assign,
            store=store,
            deadline=deadline,
            bulkhead=Bulkhead(64, lambda: 1),
            metrics=figures,
            owner="me",
        )
        made.append(one)
        if start:
            one.start()
        return one

    yield backend
    for one in made:
        one.stop()
        one.kill()
    wait_for(lambda: not _threads())  # they close files, whose numbers the next test may count on


def wait_for(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_thread(work: Callable[[], object]) -> list[object]:
    """Begin it; the list gets the exception that it ends with, or None."""
    ended: list[object] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            ended.append(error)
        else:
            ended.append(None)

    threading.Thread(target=run, daemon=True).start()
    return ended


def _threads() -> list[str]:
    """Those that this process has for the back ends of the test."""
    return [thread.name for thread in threading.enumerate() if "array" in thread.name]


def files_of(pid: int) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}


def csi_processes() -> list[int]:
    """The drivers' processes of this test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text() == "csi:array\n" and _is_ours(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


def _is_ours(pid: int) -> bool:
    def parent(of: int) -> int:
        return int(Path(f"/proc/{of}/stat").read_text().rpartition(") ")[2].split()[1])

    return parent(parent(pid)) == os.getpid()
