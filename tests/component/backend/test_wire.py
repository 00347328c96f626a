"""Calls between two processes; here both ends are in one."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from csi_cinderlib.backend.frames import Unsendable
from csi_cinderlib.backend.wire import PING, Gone, Peer, Unexpected
from csi_cinderlib.errors import DriverError, NotFound

Ends = Callable[..., tuple[Peer, Peer]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Two connected ends, given what each of them offers."""
    made: list[Peer] = []

    def connected(left: dict[str, Any], right: dict[str, Any], **options: Any) -> tuple[Peer, Peer]:
        one, other = multiprocessing.Pipe()
        pair = (
            Peer(one, left, name="left", threads=8, **options),
            Peer(other, right, name="right", threads=8, **options),
        )
        made.extend(pair)
        for peer in pair:
            peer.start()
        return pair

    yield connected
    for peer in made:
        peer.close()


def test_many_calls_at_once_each_get_their_own_answer(ends: Ends) -> None:
    left, _ = ends({}, {"double": lambda number, *, plus: 2 * number + plus})
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda number: left.call("double", number, plus=1), range(500))) == [
            2 * n + 1 for n in range(500)
        ]


def test_whoever_carries_a_call_out_may_ask_back(ends: Ends) -> None:
    handlers: dict[str, Any] = {}
    left, right = ends({"name": lambda: "left"}, handlers)
    handlers["greet"] = lambda: f"hello {right.call('name')}"
    assert left.call("greet") == "hello left"


def test_our_errors_arrive_and_others_are_named(ends: Ends) -> None:
    def missing() -> None:
        raise NotFound("volume", "x")

    left, _ = ends({}, {"missing": missing, "broken": lambda: 1 / 0, "odd": object})
    with pytest.raises(NotFound, match="volume 'x' does not exist"):
        left.call("missing")
    with pytest.raises(Unexpected, match="ZeroDivisionError"):
        left.call("broken")
    with pytest.raises(Unexpected, match=r"cannot send a .* to another process"):
        left.call("odd")
    with pytest.raises(Unsendable):
        left.call("missing", object())
    with pytest.raises(Unexpected, match="KeyError"):
        left.call("no such call")
    with pytest.raises(NotFound):
        left.call("missing")


def test_calls_that_wait_end_when_the_other_end_goes(ends: Ends) -> None:
    gone, hold = threading.Event(), threading.Event()
    left, right = ends({}, {"hold": hold.wait}, gone=gone.set)
    waiting = [left.begin("hold") for _ in range(3)]
    assert left.calls == 3
    right.close()
    for call in waiting:
        with pytest.raises(Gone):
            call.result(10)
    hold.set()
    assert gone.wait(10)
    with pytest.raises(Gone):
        left.call("hold")
    left.tell("hold")


def test_an_end_answers_that_it_runs_while_all_its_threads_are_busy(ends: Ends) -> None:
    hold = threading.Event()
    left, _ = ends({}, {"hold": hold.wait})
    waiting = [left.begin("hold") for _ in range(20)]
    assert left.begin(PING).result(10) is None
    with pytest.raises(TooLate):
        waiting[0].result(0.01)
    assert not left.wait_until_idle(0.01)
    hold.set()
    assert left.wait_until_idle(10)
    assert all(call.result(10) for call in waiting)


def test_a_call_is_carried_out_within_the_context_of_its_caller(ends: Ends) -> None:
    request: ContextVar[str] = ContextVar("request", default="")

    @contextmanager
    def within(id: str) -> Iterator[None]:
        token = request.set(id)
        yield
        request.reset(token)

    left, _ = ends({}, {"request": request.get}, context=request.get, within=within)
    request.set("4711")
    assert left.call("request") == "4711"


def test_notes_are_taken_in_their_order(ends: Ends) -> None:
    taken: list[int] = []
    left, _ = ends({}, {"note": taken.append, "taken": lambda: list(taken)})
    for number in range(100):
        left.tell("note", number)
    assert left.call("taken") == list(range(100))


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Laden(DriverError):
    def __init__(self) -> None:
        super().__init__("laden")
        self.load = object()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Unprintable(), Laden(), RecursionError()])
def test_a_call_is_answered_whatever_it_raises(ends: Ends, error: BaseException) -> None:
    def fail() -> None:
        raise error

    left, _ = ends({}, {"fail": fail})
    with pytest.raises(Unexpected, match=type(error).__name__):
        left.begin("fail").result(10)


def test_nobody_waits_to_speak_to_an_end_that_does_not_read() -> None:
    one, other = multiprocessing.Pipe()
    left = Peer(one, {}, name="left", threads=1)
    left.start()
    with other, ThreadPoolExecutor(1) as pool:
        call = pool.submit(left.begin, "call", b"x" * 10_000_000)
        try:
            with pytest.raises(TooLate):
                call.result(10).result(0.1)
            with pytest.raises(TooLate):
                left.begin(PING).result(0.1)
        finally:
            other.close()
        with pytest.raises(Gone):
            call.result(10).result(10)
