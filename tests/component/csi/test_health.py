"""When a process says that only a restart helps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.csi import server
from csi_cinderlib.csi.server import STUCK_SECONDS
from csi_cinderlib.csi.v1 import csi_pb2
from tests.component.csi.harness import Running, Serve
from tests.component.csi.test_server import Slow, delete

WORKERS = 2


class Clock:
    """Of the server's threads: time passes when a test says so, however long anybody waits for a turn."""

    now = 0.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.go_on.set()


def watched(serve: Serve, slow: Slow, bulkhead: Bulkhead | None = None) -> Running:
    running = serve(slow, workers=WORKERS)
    waiting = bulkhead.waiting if bulkhead else frozenset
    running.readiness.watch(lambda: running.server.stuck(waiting()))
    return running


def is_ready(running: Running) -> bool:
    return bool(running.client.identity.Probe(csi_pb2.ProbeRequest(), timeout=60).ready.value)


def begin(running: Running, slow: Slow, calls: int) -> list[Any]:
    waiting = [delete(running) for _ in range(calls)]
    for _ in waiting:
        assert slow.begun.acquire(timeout=60)
    return waiting


def test_calls_that_have_all_threads_for_long_are_a_reason_to_restart(serve: Serve, slow: Slow, clock: Clock) -> None:
    running = watched(serve, slow)
    waiting = begin(running, slow, WORKERS)
    clock.pass_time(STUCK_SECONDS)
    assert is_ready(running)
    clock.pass_time(1)
    assert running.readiness.trouble == "all 2 threads of the pool 'storage' are busy, and no call has ended for 300 s"
    assert not is_ready(running)
    slow.go_on.set()
    for call in waiting:
        call.result(timeout=60)
    assert running.readiness.trouble == ""
    assert is_ready(running)


def test_calls_that_all_wait_for_back_ends_are_none(serve: Serve, slow: Slow, clock: Clock) -> None:
    """A new process would wait for them just so."""
    bulkhead = Bulkhead(64, lambda: 1)

    class Waiting(Slow):
        def DeleteVolume(self, request: csi_pb2.DeleteVolumeRequest) -> csi_pb2.DeleteVolumeResponse:
            if request.volume_id == "v":
                with bulkhead.entered("array"):
                    return slow.DeleteVolume(request)
            return slow.DeleteVolume(request)

    running = watched(serve, Waiting(), bulkhead)
    waiting = begin(running, slow, WORKERS)
    clock.pass_time(STUCK_SECONDS + 1)
    assert running.readiness.trouble == ""
    slow.go_on.set()
    for call in waiting:
        call.result(timeout=60)
    slow.go_on = threading.Event()
    begin(running, slow, WORKERS - 1)
    other = running.client.controller.DeleteVolume.future(csi_pb2.DeleteVolumeRequest(volume_id="w"))
    assert slow.begun.acquire(timeout=60)
    clock.pass_time(STUCK_SECONDS + 1)
    assert "no call has ended" in running.readiness.trouble
    assert not other.done()


def test_calls_that_leave_a_thread_free_are_none(serve: Serve, slow: Slow, clock: Clock) -> None:
    running = watched(serve, slow)
    begin(running, slow, WORKERS - 1)
    clock.pass_time(STUCK_SECONDS + 1)
    assert running.readiness.trouble == ""
    running.client.controller.CreateVolume(csi_pb2.CreateVolumeRequest(name="v"), timeout=60)


def test_calls_that_have_all_threads_and_end_in_turn_are_none(serve: Serve, clock: Clock) -> None:
    turns = threading.Semaphore(0)

    class Busy(Slow):
        def DeleteVolume(self, _request: csi_pb2.DeleteVolumeRequest) -> csi_pb2.DeleteVolumeResponse:
            self.begun.release()
            assert turns.acquire(timeout=60)
            return csi_pb2.DeleteVolumeResponse()

    busy = Busy()
    running = watched(serve, busy)
    waiting = [delete(running) for _ in range(10)]
    for _ in range(WORKERS):
        assert busy.begun.acquire(timeout=60)
    for _ in range(len(waiting) - WORKERS):
        clock.pass_time(STUCK_SECONDS)
        assert running.readiness.trouble == ""
        turns.release()
        assert busy.begun.acquire(timeout=60), "the next one has its thread"
    turns.release(WORKERS)
    for call in waiting:
        assert call.result(timeout=60) == csi_pb2.DeleteVolumeResponse()
