"""How a driver is called."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    LeaseLost,
)
from csi_cinderlib.persistence.lease import unshared
from tests.support.fakes.stores import ObservedStore


class Calls:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    @contextmanager
    def backend_call(self, backend: str, method: str) -> Iterator[None]:
        self.seen.append((backend, method))
        yield


@pytest.fixture
def meter() -> Any:
    return Calls()


@pytest.fixture
def engine(store: ObservedStore, meter: Any) -> Engine:
    runtime: Any = SimpleNamespace(host="here")  # a record needs no Cinder
    return Engine(
        BackendSettings(name="fake", driver="none"),
        store=store,
        runtime=runtime,
        check_lease=unshared,
        meter=meter,
    )


def test_calls_are_measured_by_the_name_of_the_method(engine: Engine, meter: Calls) -> None:
    def create_volume() -> str:
        return "done"

    assert engine.call(engine.work(), create_volume) == "done"
    assert engine.call(engine.work(), partial(create_volume)) == "done"
    assert engine.call_quietly(engine.work(), create_volume) == "done"
    assert meter.seen == [("fake", "create_volume"), ("fake", "call")]


def test_no_driver_is_called_once_the_lease_is_lost(engine: Engine, meter: Calls) -> None:
    calls: list[str] = []

    def lost() -> None:
        raise LeaseLost("gone")

    engine.call(engine.work(), calls.append, "first")
    engine.check_lease = lost
    with pytest.raises(LeaseLost, match=r"^gone$"):
        engine.call(engine.work(), calls.append, "second")
    with pytest.raises(LeaseLost):
        engine.ask(engine.work(), calls.append, "third")
    assert calls == ["first"]


def test_the_lease_is_checked_after_the_wait_for_a_slot(engine: Engine) -> None:
    calls: list[str] = []
    busy, go_on = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        go_on.wait(60)

    def lost() -> None:
        raise LeaseLost("gone")

    engine.limit(1)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(engine.call, engine.work(), occupy)
        busy.wait(60)
        waiting = pool.submit(engine.call, engine.work(), calls.append, "late")
        engine.check_lease = lost
        go_on.set()
        assert running.result() is None
        assert isinstance(waiting.exception(), LeaseLost)
    assert calls == []


def test_a_driver_may_answer_a_dictionary_or_nothing(engine: Engine, meter: Calls) -> None:
    def create_volume(answer: Any) -> Any:
        return answer

    assert engine.ask(engine.work(), create_volume, {"size": 1}) == {"size": 1}
    assert engine.ask(engine.work(), create_volume, None) == {}
    with pytest.raises(
        BackendError, match="'fake': the driver returned list from create_volume; expected a dictionary"
    ):
        engine.ask(engine.work(), create_volume, ["size"])
    with pytest.raises(BackendError, match="'fake': the driver returned str from call; expected a dictionary"):
        engine.ask(engine.work(), partial(create_volume, "size"))
    assert meter.seen == [*[("fake", "create_volume")] * 3, ("fake", "call")]


@pytest.mark.parametrize("call", ["call", "call_quietly"])
def test_what_fails_in_cinder_is_an_error_of_the_back_end(engine: Engine, call: str) -> None:
    def fail() -> None:
        raise RuntimeError("no space")

    with pytest.raises(BackendError, match="back end 'fake': no space"):
        getattr(engine, call)(engine.work(), fail)


def test_a_back_end_that_was_not_started_has_no_driver(engine: Engine) -> None:
    with pytest.raises(BackendUnavailable, match="the driver is not set up"):
        engine.ready_driver()
