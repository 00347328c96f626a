"""What is known of the back ends, and that none of them can hold the others up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_cinderlib.app.observations import (
    _UNKNOWN,
    ASK_SECONDS,
    LONGEST_PATIENCE,
    LOOK_SECONDS,
    PATIENCE,
    START_SECONDS,
    Observations,
    Seen,
)
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

    def backend(name: str, *, start: bool = True, stats_seconds: float = 0, **options: object) -> LocalBackend:
        settings = BackendSettings(
            name=name,
            driver="tests.support.fakes.nothing.NothingDriver",
            options=options,
            stats_seconds=stats_seconds,
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


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Level, event and back end of what observations logged."""
    ours = (record for record in caplog.records if record.name == "csi_cinderlib.app.observations")
    return [(record.levelname.lower(), vars(record)["event"], vars(record)["values"]["backend"]) for record in ours]


def asking(name: str) -> bool:
    return any(thread.name == f"ask-{name}" for thread in threading.enumerate())


def answered(observations: Observations, name: str) -> Seen:
    """As it is seen once it has answered what this look asked. A look itself waits for no more than a moment."""
    observations.look()
    wait_for(lambda: not asking(name))
    return by_name(observations.look())[name]


def wait_for(holds: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


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
    clock.now = START_SECONDS + 1
    (seen,) = observations.look()
    assert (seen.starting, seen.ready, seen.reason) == (False, False, "is still starting")


def test_one_that_answers_no_more_is_not_ready_until_it_answers_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock, backend = Clock(), make("seen-away")
    observations = Observations(Backends([backend]), monotonic=clock)
    assert answered(observations, "seen-away").ready
    with monkeypatch.context() as patch:

        def refuse(**_: object) -> None:
            raise OSError("no route to host")

        patch.setattr(backend.driver, "get_volume_stats", refuse)
        assert observations.look()[0].ready, "an array is not asked at every look"
        clock.now += ASK_SECONDS
        seen = answered(observations, "seen-away")
        assert not seen.ready
        assert "no route to host" in seen.reason
    clock.now += ASK_SECONDS
    assert answered(observations, "seen-away").ready
    assert lines(caplog) == [
        ("warning", "back end not responding", "seen-away"),
        ("info", "back end responding again", "seen-away"),
    ]


def test_one_that_hangs_holds_up_no_other_and_is_asked_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock, hanging, well = Clock(), make("seen-hanging"), make("seen-well")
    observations = Observations(Backends([hanging, well]), monotonic=clock)
    for name in ("seen-hanging", "seen-well"):
        answered(observations, name)
    asked, over, has_answered = [], threading.Event(), threading.Event()

    def hang(**_: object) -> dict[str, object]:
        asked.append(1)
        over.wait(60)
        has_answered.set()
        return {"pools": []}

    monkeypatch.setattr(hanging.driver, "get_volume_stats", hang)
    clock.now += ASK_SECONDS
    assert all(seen.ready for seen in observations.look())
    wait_for(lambda: asked and not asking("seen-well"))
    clock.now += PATIENCE + 1
    found = by_name(observations.look())
    assert not has_answered.is_set()
    assert found["seen-hanging"].reason == "has not responded for 20 s"
    assert found["seen-well"].ready
    assert asked == [1]
    assert lines(caplog) == [("warning", "back end not responding", "seen-hanging")]
    over.set()
    assert has_answered.wait(60)
    wait_for(lambda: by_name(observations.look())["seen-hanging"].ready)
    assert lines(caplog)[1:] == [("info", "back end responding again", "seen-hanging")]


def test_what_hangs_is_seen_within_a_minute() -> None:
    assert ASK_SECONDS + PATIENCE + 2 * LOOK_SECONDS <= 60
    assert START_SECONDS + LOOK_SECONDS <= 60


def test_an_array_whose_answers_take_long_is_given_thrice_their_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to a limit; and the next look after an answer finds the array well again."""
    clock, slow = Clock(), make("seen-slow")
    observations = Observations(Backends([slow]), monotonic=clock)
    turns = [threading.Event() for _ in range(4)]
    waiting = iter(turns)

    def answer_late(**_: object) -> dict[str, object]:
        assert next(waiting).wait(60)
        return {"pools": []}

    monkeypatch.setattr(slow.driver, "get_volume_stats", answer_late)
    observations.look()
    for turn, needs, patience in zip(turns, (40, 100, 50), (60, 120, LONGEST_PATIENCE), strict=False):
        asked_at = clock.now
        clock.now = asked_at + patience
        assert observations.look()[0].ready
        clock.now += 1
        assert observations.look()[0].reason == f"has not responded for {patience:.0f} s"
        clock.now = asked_at + needs
        turn.set()
        wait_for(lambda: not asking("seen-slow"))
        assert observations.look()[0].ready, "and it is asked again"
    turns[-1].set()
    wait_for(lambda: not asking("seen-slow"))


def test_a_back_end_whose_reports_are_kept_longer_is_asked_as_seldom(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, backend = Clock(), make("seen-seldom", stats_seconds=100)
    observations = Observations(Backends([backend]), monotonic=clock)
    answered(observations, "seen-seldom")
    asked: list[int] = []

    def answer(**_: object) -> dict[str, object]:
        asked.append(1)
        return {"pools": []}

    monkeypatch.setattr(backend.driver, "get_volume_stats", answer)
    clock.now = 99
    observations.look()
    assert not asked
    clock.now = 100
    observations.look()
    wait_for(lambda: asked == [1])


def test_one_that_failed_is_not_left_so_for_as_long_as_its_reports_are_kept(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, backend = Clock(), make("seen-mended", stats_seconds=3600)
    observations = Observations(Backends([backend]), monotonic=clock)

    def refuse(**_: object) -> None:
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(backend.driver, "get_volume_stats", refuse)
        assert not answered(observations, "seen-mended").ready
    clock.now += ASK_SECONDS
    assert answered(observations, "seen-mended").ready


def test_what_was_wrong_before_a_new_start_says_nothing_any_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, old = Clock(), make("seen-again")
    ready, failing = True, True

    def answer(**_: object) -> dict[str, object]:
        if failing:
            raise OSError("the process has ended")
        return {"pools": []}

    monkeypatch.setattr(old.driver, "get_volume_stats", answer)
    monkeypatch.setattr(type(old), "ready", property(lambda _: ready))
    observations = Observations(Backends([old]), monotonic=clock)
    assert not answered(observations, "seen-again").ready
    ready, failing = False, False
    clock.now += LOOK_SECONDS
    observations.look()
    ready = True
    clock.now += LOOK_SECONDS
    assert observations.look()[0].ready


def test_a_failure_that_took_long_does_not_make_anybody_more_patient(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hung until its process was ended would be said to be well for three minutes more when it hangs again."""
    clock, backend = Clock(), make("seen-twice")
    turns = [threading.Event() for _ in range(2)]
    waiting = iter(turns)

    def hang(**_: object) -> dict[str, object]:
        assert next(waiting).wait(60)
        raise OSError("the process has ended")

    monkeypatch.setattr(backend.driver, "get_volume_stats", hang)
    observations = Observations(Backends([backend]), monotonic=clock)
    observations.look()
    for turn in turns:
        clock.now += 3 * _UNKNOWN + 1
        assert observations.look()[0].reason == "has not responded for 60 s"
        clock.now += 100
        turn.set()
        wait_for(lambda: not asking("seen-twice"))
        observations.look()


def test_a_back_end_whose_file_cannot_be_read_any_more_says_so_and_stays_ready(make: Make) -> None:
    reasons = {"seen-known": "d/a.yaml:3: is not YAML", "b": "d/b.yaml:1: is not YAML"}
    found = by_name(Observations(Backends([make("seen-known")]), unreadable=lambda: reasons).look())
    assert (found["seen-known"].ready, found["seen-known"].reason) == (True, "d/a.yaml:3: is not YAML")
    assert (found["b"].ready, found["b"].driver) == (False, "")
