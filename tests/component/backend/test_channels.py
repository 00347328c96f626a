"""Calls to a driver's process that have a channel to themselves; here both ends are in one process."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from csi_cinderlib.backend.channels import Channels, Serving
from csi_cinderlib.backend.frames import Unsendable
from csi_cinderlib.backend.wire import Gone, Peer, Unexpected
from csi_cinderlib.errors import NotFound

_request: ContextVar[str] = ContextVar("request", default="")
HANG = 60
"""Seconds."""


@contextmanager
def within(id: str) -> Iterator[None]:
    token = _request.set(id)
    yield
    _request.reset(token)


@dataclass
class Ends:
    """A controller's end and a driver's, each with its `Peer`."""

    ours: Channels
    theirs: Serving
    broken: threading.Event
    gone: threading.Event


Connect = Callable[..., Ends]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Two connected ends, given what each of them offers."""
    closes: list[Callable[[], None]] = []

    def connected(left: dict[str, Any], right: dict[str, Any], *, serves: bool = True, **options: Any) -> Ends:
        one, other = multiprocessing.Pipe()
        doorbell, bell = socket.socketpair()
        broken, gone = threading.Event(), threading.Event()
        peers = (
            Peer(one, left, name="left", threads=8, context=_request.get),
            Peer(other, right, name="right", threads=8, within=within),
        )
        for peer in peers:
            peer.start()
            closes.append(peer.close)
        ours = Channels(doorbell, left, peers[0], context=_request.get, broken=broken.set, **options)
        closes.append(ours.close)
        theirs = Serving(bell, right, peers[1], within=within, gone=gone.set)
        if serves:
            theirs.start()
        else:
            closes.append(bell.close)
        return Ends(ours, theirs, broken, gone)

    yield connected
    for close in reversed(closes):
        close()
    wait_for_serving_threads(0)  # the next test counts its own


def serving_threads() -> int:
    return sum(thread.name == "channel" for thread in threading.enumerate())


def wait_for_serving_threads(count: int) -> None:
    deadline = time.monotonic() + HANG
    while serving_threads() > count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert serving_threads() == count


def test_many_calls_at_once_each_get_their_own_answer(connect: Connect) -> None:
    ends = connect({}, {"double": lambda number, *, plus: 2 * number + plus})
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: ends.ours.call("double", number, plus=1), range(500)))
    assert answers == [2 * number + 1 for number in range(500)]
    assert serving_threads() <= 16


def test_a_question_is_answered_by_the_thread_that_waits_for_the_call(connect: Connect) -> None:
    handlers: dict[str, Any] = {}
    ends = connect({"thread": threading.get_ident}, handlers)
    handlers["ask"] = lambda: ends.theirs.call("thread")
    assert ends.ours.call("ask") == threading.get_ident()


def test_a_question_of_another_thread_of_the_driver_is_answered(connect: Connect) -> None:
    def ask() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(ends.theirs.call, "name").result(HANG)

    ends = connect({"name": lambda: "left"}, {"ask": ask})
    assert ends.ours.call("ask") == "left"
    assert ends.theirs.call("name") == "left"


def test_notes_are_taken_before_the_answer(connect: Connect) -> None:
    taken: list[int] = []

    def tell() -> None:
        for number in range(3):
            ends.theirs.tell("note", number)

    ends = connect({"note": taken.append}, {"tell": tell})
    ends.ours.call("tell")
    assert taken == [0, 1, 2]


def test_errors_leave_a_channel_usable(connect: Connect) -> None:
    def missing() -> None:
        raise NotFound("volume", "x")

    ends = connect({"missing": missing}, {})
    right = ends.theirs._handlers
    assert isinstance(right, dict)
    right |= {"missing": missing, "broken": lambda: 1 / 0, "odd": object, "ask": lambda: ends.theirs.call("missing")}
    for _ in range(2):
        with pytest.raises(NotFound, match="volume 'x' does not exist"):
            ends.ours.call("missing")
        with pytest.raises(NotFound):
            ends.ours.call("ask")
        with pytest.raises(Unexpected, match="ZeroDivisionError"):
            ends.ours.call("broken")
        with pytest.raises(Unexpected, match=r"cannot send a .* to another process"):
            ends.ours.call("odd")
        with pytest.raises(Unsendable):
            ends.ours.call("missing", object())
    assert serving_threads() == 1
    assert not ends.broken.is_set()


def test_a_call_is_carried_out_within_the_context_of_its_caller(connect: Connect) -> None:
    ends = connect({}, {"request": _request.get})
    with within("4711"):
        assert ends.ours.call("request") == "4711"
    assert ends.ours.call("request") == ""


def test_a_call_goes_by_the_peer_when_no_channel_can_be_had(connect: Connect) -> None:
    ends = connect({}, {"name": lambda: "right"}, serves=False)
    ends.theirs._doorbell.close()
    assert ends.ours.call("name") == "right"
    assert not ends.broken.is_set()
    assert ends.ours.calls == 0


def test_a_call_goes_by_the_peer_when_no_thread_can_be_started_for_it(connect: Connect) -> None:
    ends = connect({}, {"name": lambda: threading.current_thread().name})
    threading.stack_size(1 << 60)  # more than there are addresses
    try:
        assert ends.ours.call("name").startswith("right")
    finally:
        threading.stack_size(0)
    assert ends.ours.call("name") == "channel"


def test_a_call_goes_by_the_peer_when_the_doorbell_is_full(connect: Connect) -> None:
    ends = connect({}, {"name": lambda: threading.current_thread().name}, serves=False)
    doorbell = ends.ours._doorbell
    with pytest.raises(BlockingIOError):
        while True:
            doorbell.send(bytes(1 << 16))
    assert ends.ours.call("name").startswith("right")


def test_calls_that_wait_end_when_the_channels_are_closed(connect: Connect) -> None:
    hold, entered = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        entered.release()
        hold.wait()

    ends = connect({}, {"hold": wait})
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ends.ours.call, "hold") for _ in range(3)]
        for _ in waiting:
            assert entered.acquire(timeout=HANG)
        assert ends.ours.calls == 3
        assert not ends.ours.wait_until_idle(0.01)
        ends.ours.close()
        for call in waiting:
            with pytest.raises(Gone):
                call.result(HANG)
    assert ends.ours.wait_until_idle(0)
    assert not ends.broken.is_set()
    hold.set()
    with pytest.raises(Gone):
        ends.ours.call("hold")


def test_a_driver_that_closes_a_channel_is_noticed_at_both_ends(connect: Connect) -> None:
    def close() -> None:
        ends.theirs._own.channel.shut_down()

    ends = connect({}, {"close": close})
    with pytest.raises(Gone):
        ends.ours.call("close")
    assert ends.broken.is_set()
    assert ends.gone.wait(HANG)


def test_channels_that_no_call_has_needed_for_a_while_end_with_their_threads(connect: Connect) -> None:
    together = threading.Barrier(5)
    ends = connect({}, {"meet": lambda: together.wait(HANG), "name": lambda: "right"})
    with ThreadPoolExecutor(5) as pool:
        for call in [pool.submit(ends.ours.call, "meet") for _ in range(5)]:
            call.result(HANG)
    ends.ours.close_unneeded()
    for _ in range(3):
        assert ends.ours.call("name") == "right"
    assert serving_threads() == 5
    ends.ours.close_unneeded()
    wait_for_serving_threads(1)
    assert ends.ours.call("name") == "right"
    ends.ours.close_unneeded()
    assert ends.ours.call("name") == "right"
    assert serving_threads() == 1


def test_programs_that_a_driver_runs_do_not_inherit_a_channel(connect: Connect) -> None:
    def is_inherited() -> Any:
        return ends.theirs._own.channel._socket.get_inheritable()

    ends = connect({}, {"is_inherited": is_inherited})
    assert not ends.ours.call("is_inherited")


def test_idle_channels_beyond_a_number_end_with_their_threads(connect: Connect) -> None:
    together = threading.Barrier(5)
    ends = connect({}, {"meet": lambda: together.wait(HANG)}, most_idle=2)
    with ThreadPoolExecutor(5) as pool:
        for call in [pool.submit(ends.ours.call, "meet") for _ in range(5)]:
            call.result(HANG)
    wait_for_serving_threads(2)


def test_a_question_that_failed_halfway_is_never_answered_with_the_answer_of_another(connect: Connect) -> None:
    handlers: dict[str, Any] = {}
    ends = connect({"repeat": lambda word: word}, handlers)

    def ask_at_depth(depth: int) -> Any:
        return ask_at_depth(depth - 1) if depth else ends.theirs.call("repeat", "deep")

    def ask() -> Any:
        for depth in range(sys.getrecursionlimit()):
            try:
                ask_at_depth(depth)
            except RecursionError:
                break
        return ends.theirs.call("repeat", "shallow")

    handlers["ask"] = ask
    try:
        assert ends.ours.call("ask") == "shallow"
    except Gone:
        assert ends.gone.wait(HANG)


def test_a_process_that_a_driver_forks_neither_answers_nor_asks(connect: Connect) -> None:
    handlers: dict[str, Any] = {}
    ends = connect({"note": lambda: None}, handlers)

    def fork() -> str:
        child = os.fork()
        if not child:
            with pytest.raises(Gone):
                ends.theirs.call("note")
            ends.theirs._gone = lambda: os._exit(0)
            sys.exit(1)
        os.waitpid(child, 0)
        return "the driver's"

    handlers["fork"] = fork
    assert ends.ours.call("fork") == "the driver's"
    assert ends.ours.call("fork") == "the driver's"
