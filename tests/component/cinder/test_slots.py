"""Which calls run at one time on a back end that takes only so many."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from csi_cinderlib.cinder.slots import Slots, Urgency, urgency

FREES, ATTACHES, CREATES = Urgency


HANG = 60
"""Seconds."""


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@dataclass
class Call:
    """A call in a thread of its own; it ends when the test says so."""

    slots: Slots
    urgency: Urgency
    began: threading.Event = field(default_factory=threading.Event)
    ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run)
        waiting = self.slots._waiting[self.urgency]
        before = len(waiting)
        self.thread.start()
        until(lambda: self.began.is_set() or len(waiting) > before)

    def _run(self) -> None:
        with self.slots.hold(self.urgency):
            self.began.set()
            assert self.ending.wait(2 * HANG)

    def end(self) -> None:
        self.ending.set()
        self.thread.join()


def run(calls: Sequence[Call], count: int) -> bool:
    """Whether so many of the calls run, and no more."""
    until(lambda: sum(call.began.is_set() for call in calls) >= count)
    time.sleep(0.05)
    return sum(call.began.is_set() for call in calls) == count


Start = Callable[..., Any]


@pytest.fixture
def start() -> Iterator[Start]:
    """Begin calls of these urgencies, one after the other."""
    calls: list[Call] = []

    def begin(slots: Slots, *urgencies: Urgency) -> list[Call]:
        begun = [Call(slots, urgency) for urgency in urgencies]
        calls.extend(begun)
        return begun

    yield begin
    for call in calls:
        call.ending.set()
    for call in calls:
        call.thread.join()


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 1), (3, 2), (4, 2), (10, 5)])
def test_creations_take_half_of_the_slots(start: Start, limit: int, most: int) -> None:
    calls = start(Slots(limit), *[CREATES] * (limit + 2))
    assert run(calls, most)


def test_attachments_take_what_creations_may_not(start: Start) -> None:
    slots = Slots(4)
    start(slots, *[CREATES] * 6)
    assert run(start(slots, *[ATTACHES] * 3), 2)


@pytest.mark.parametrize("extra", [0, 1])
def test_what_frees_something_has_a_slot_of_its_own(start: Start, extra: int) -> None:
    slots = Slots(2, extra=extra)
    start(slots, CREATES, ATTACHES)
    assert run(start(slots, FREES, FREES), extra)


def test_the_most_urgent_of_the_waiting_calls_goes_next(start: Start) -> None:
    slots = Slots(1, extra=0)
    [running, *waiting] = start(slots, CREATES, CREATES, ATTACHES, FREES, ATTACHES)
    order = []
    while waiting:
        running.end()
        assert run(waiting, 1)
        running = next(call for call in waiting if call.began.is_set())
        waiting.remove(running)
        order.append(running.urgency)
    assert order == [FREES, ATTACHES, ATTACHES, CREATES]


def test_without_a_limit_every_call_runs_at_once(start: Start) -> None:
    assert run(start(Slots(0), *[CREATES] * 20), 20)


def test_a_call_that_is_interrupted_while_it_waits_gives_its_place_up(start: Start) -> None:
    slots = Slots(1, extra=0)
    running, waiting = start(slots, CREATES, FREES)

    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise InterruptedError

    me = threading.get_ident()

    def interrupt_the_wait() -> None:
        until(lambda: waits_for_an_event(me))
        while not interrupted.wait(0.5):  # one that comes just before it sleeps does not wake it
            signal.pthread_kill(me, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    interrupter = threading.Thread(target=interrupt_the_wait)
    try:
        interrupter.start()
        with pytest.raises(InterruptedError), slots.hold(ATTACHES):
            pytest.fail("there was no slot")
    finally:
        interrupter.join()
        signal.signal(signal.SIGUSR1, before)
    assert run([waiting], 0)
    running.end()
    assert run([waiting], 1)
    waiting.end()
    assert run(start(slots, CREATES), 1)


def waits_for_an_event(thread: int) -> bool:
    """Whether that thread does, within `Slots`."""
    frames = [frame for frame, _ in traceback.walk_stack(sys._current_frames()[thread])]
    codes = [frame.f_code for frame in frames]
    return threading.Event.wait.__code__ in codes and Slots._enter.__code__ in codes


def test_a_call_that_fails_gives_its_slot_back(start: Start) -> None:
    slots = Slots(1, extra=0)
    with pytest.raises(ValueError, match="no"), slots.hold(FREES):
        raise ValueError("no")
    assert run(start(slots, CREATES), 1)


def unnamed(method: Any) -> Any:
    """As MacroSAN's `record_request_id`, which hides the name of what it decorates."""

    def record(*arguments: Any) -> Any:
        return method(*arguments)

    return record


class Driver:
    @unnamed
    def terminate_connection(self) -> None: ...

    def initialize_connection(self) -> None: ...

    def create_volume(self) -> None: ...


def test_how_urgent_a_call_is() -> None:
    driver = Driver()
    calls = (driver.terminate_connection, driver.initialize_connection, driver.create_volume)
    assert [urgency(driver, call) for call in calls] == [FREES, ATTACHES, CREATES]
    assert urgency(None, calls[0]) is CREATES


def test_a_call_that_is_no_method_of_the_driver_is_known_by_its_name() -> None:
    def misses_file() -> None: ...

    assert urgency(Driver(), misses_file) is FREES


def test_a_driver_that_refuses_unknown_attributes_is_asked_for_none() -> None:
    class Refusing(Driver):
        """As SolidFire's driver, which asks its `target_driver` and then raises this."""

        def __getattr__(self, name: str) -> Any:
            raise NotImplementedError(name)

    driver = Refusing()
    assert urgency(driver, driver.terminate_connection) is FREES
    assert urgency(driver, len) is CREATES
