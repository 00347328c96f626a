from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.persistence.sql.groupcommit import GroupCommit, Job


class Recorder:
    """Notes the batches; each write waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def write(self, batch: Sequence[Job[str]]) -> None:
        self.begun.release()
        self.go.acquire()
        self.batches.append([job.work for job in batch])
        for job in batch:
            if job.work.startswith("bad"):
                job.error = ValueError(job.work)
            job.result = job.work.upper()


def wait_for(commits: GroupCommit[str], waiting: int) -> None:
    while len(commits._waiting) < waiting:
        threading.Event().wait(0.001)


def test_writes_that_come_during_a_commit_share_the_next_one() -> None:
    recorder = Recorder()
    commits = GroupCommit(recorder.write)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(commits.run, "first")
        recorder.begun.acquire()
        others = []
        for number in range(5):
            others.append(pool.submit(commits.run, f"{number}"))
            wait_for(commits, number + 1)
        recorder.go.release(2)
        assert first.result() == "FIRST"
        assert [other.result() for other in others] == ["0", "1", "2", "3", "4"]
    assert recorder.batches == [["first"], ["0", "1", "2", "3", "4"]]


def test_a_callers_failure_is_its_own() -> None:
    recorder = Recorder()
    recorder.go.release(100)
    commits = GroupCommit(recorder.write)
    with pytest.raises(ValueError, match="bad"):
        commits.run("bad")
    assert commits.run("good") == "GOOD"


def test_no_batch_is_larger_than_the_limit_and_nobody_is_left_behind() -> None:
    recorder = Recorder()
    commits = GroupCommit(recorder.write, most=2)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(commits.run, "first")
        recorder.begun.acquire()
        others = [pool.submit(commits.run, f"{number}") for number in range(5)]
        wait_for(commits, 5)
        recorder.go.release(100)
        assert {first.result(), *(other.result() for other in others)} == {"FIRST", "0", "1", "2", "3", "4"}
    assert [len(batch) for batch in recorder.batches] == [1, 2, 2, 1]


def test_when_the_writing_itself_breaks_all_who_waited_are_told_and_the_next_may_write() -> None:
    broken = True

    def write(batch: Sequence[Job[str]]) -> None:
        if broken:
            raise KeyboardInterrupt
        for job in batch:
            job.result = job.work

    commits = GroupCommit(write)
    with pytest.raises(KeyboardInterrupt):
        commits.run("interrupted")
    broken = False
    assert commits.run("next") == "next"


def test_a_batch_that_is_interrupted_fails_for_its_followers_too() -> None:
    entered, follow = threading.Semaphore(0), threading.Semaphore(0)
    calls = iter([None, KeyboardInterrupt()])

    def write(batch: Sequence[Job[str]]) -> None:
        entered.release()
        follow.acquire()
        if (problem := next(calls)) is not None:
            raise problem

    commits = GroupCommit(write)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(commits.run, "first")
        entered.acquire()
        leader = pool.submit(commits.run, "leader")
        wait_for(commits, 1)
        follower = pool.submit(commits.run, "follower")
        wait_for(commits, 2)
        follow.release(2)
        assert first.result() is None
        assert isinstance(leader.exception(), KeyboardInterrupt)
        assert isinstance(follower.exception(), StoreUnavailable)
