"""What is known of the back ends, and that none of them can hold the others up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_cinderlib.app.observations import ASK_SECONDS, PATIENCE, Observations, Seen
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.persistence.plugins import open_store

Make = Callable[..., LocalBackend]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    runtime = Runtime(tmp_path / "cinder", owner="here")
    store = open_store("memory", {}, state_dir=tmp_path)
    made: list[LocalBackend] = []

    def backend(name: str, *, start: bool = True, **options: object) -> LocalBackend:
        settings = BackendSettings(
            name=name, driver="tests.support.fakes.nothing.NothingDriver", options=options, stats_seconds=0
        )
        made.append(LocalBackend(settings, store=store, runtime=runtime))
        if start:
            made[-1].start()
        return made[-1]

    yield backend
    for one in made:
        one.stop()
    runtime.close()
    store.close()


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def by_name(found: tuple[Seen, ...]) -> dict[str, Seen]:
    return {seen.name: seen for seen in found}


def test_a_ready_back_end_is_seen_with_its_report(make: Make) -> None:
    (seen,) = Observations(Backends([make("seen-ready")])).look()
    assert (seen.ready, seen.reason, seen.driver) == (True, "", "tests.support.fakes.nothing.NothingDriver")
    assert seen.stats is not None
    assert seen.stats.pools[0].name == "one"


def test_one_that_could_not_start_says_why_without_its_password(make: Make) -> None:
    backend = make(
        "seen-broken",
        start=False,
        nothing_fail=["check_for_setup_error"],
        nothing_error="login as admin with hunter2 failed",
        nothing_password="hunter2",
    )
    with pytest.raises(DriverError):
        backend.start()
    (seen,) = Observations(Backends([backend])).look()
    assert not seen.ready
    assert "login as admin with *** failed" in seen.reason


def test_one_that_starts_is_given_time_and_then_said_to_be_starting_still(make: Make) -> None:
    clock = Clock()
    observations = Observations(Backends([make("seen-starting", start=False)]), monotonic=clock)
    assert observations.look()[0].starting
    clock.now = PATIENCE + 1
    (seen,) = observations.look()
    assert (seen.starting, seen.ready, seen.reason) == (False, False, "is still starting")


def test_one_that_answers_no_more_is_not_ready_until_it_answers_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, backend = Clock(), make("seen-away")
    observations = Observations(Backends([backend]), monotonic=clock)
    assert observations.look()[0].ready
    with monkeypatch.context() as patch:

        def refuse(**_: object) -> None:
            raise OSError("no route to host")

        patch.setattr(backend.driver, "get_volume_stats", refuse)
        assert observations.look()[0].ready, "an array is not asked at every look"
        clock.now += ASK_SECONDS
        (seen,) = observations.look()
        assert not seen.ready
        assert "no route to host" in seen.reason
    clock.now += ASK_SECONDS
    assert observations.look()[0].ready


def test_one_that_hangs_holds_up_no_other_and_is_asked_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, hanging, well = Clock(), make("seen-hanging"), make("seen-well")
    observations = Observations(Backends([hanging, well]), monotonic=clock)
    observations.look()
    asked, over, answered = [], threading.Event(), threading.Event()

    def hang(**_: object) -> dict[str, object]:
        asked.append(1)
        over.wait(60)
        answered.set()
        return {"pools": []}

    monkeypatch.setattr(hanging.driver, "get_volume_stats", hang)
    clock.now += ASK_SECONDS
    assert all(seen.ready for seen in observations.look())
    clock.now += PATIENCE + ASK_SECONDS + 1
    found = by_name(observations.look())
    assert not answered.is_set()
    assert found["seen-hanging"].reason == "does not answer for 60 seconds"
    assert found["seen-well"].ready
    assert asked == [1]
    over.set()
    assert answered.wait(60)


def test_a_back_end_whose_file_cannot_be_read_any_more_says_so_and_stays_ready(make: Make) -> None:
    reasons = {"seen-known": "d/a.yaml:3: is not YAML", "b": "d/b.yaml:1: is not YAML"}
    found = by_name(Observations(Backends([make("seen-known")]), unreadable=lambda: reasons).look())
    assert (found["seen-known"].ready, found["seen-known"].reason) == (True, "d/a.yaml:3: is not YAML")
    assert (found["b"].ready, found["b"].driver) == (False, "")
