"""Periodic tasks that an event makes run at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.app.waking import Chore
from csi_cinderlib.errors import StoreUnavailable
from tests.support.running import wait_for

HOURS = 3600.0


class Work:
    """Counts its runs, fails the first time, and waits while it is held."""

    def __init__(self) -> None:
        self.runs = 0
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self) -> None:
        self.runs += 1
        self.let_go.wait(60)
        if self.runs == 1:
            raise StoreUnavailable("the API server does not respond")


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def chore(work: Work) -> Iterator[Chore]:
    it = Chore(HOURS, "test of waking", work, Stopping())
    yield it
    it.end()
    wait_for(lambda: "test of waking" not in [thread.name for thread in threading.enumerate()])


def test_a_task_runs_when_it_is_woken_also_after_a_failure(chore: Chore, work: Work) -> None:
    chore.wake()
    wait_for(lambda: work.runs == 1)
    chore.wake()
    wait_for(lambda: work.runs == 2)


def test_a_task_that_is_woken_during_a_run_runs_once_more(chore: Chore, work: Work) -> None:
    work.let_go.clear()
    chore.wake()
    wait_for(lambda: work.runs == 1)
    chore.wake()
    work.let_go.set()
    wait_for(lambda: work.runs == 2)


def test_the_first_run_has_a_delay_of_its_own(work: Work) -> None:
    it = Chore(HOURS, "test of the first run", work, Stopping(), first=0.0)
    wait_for(lambda: work.runs == 1)
    it.end()
    wait_for(lambda: "test of the first run" not in [thread.name for thread in threading.enumerate()])
