"""Group commit: while a transaction commits, the writes of other threads are collected for the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from csi_cinderlib.errors import StoreUnavailable

T = TypeVar("T")


class Job(Generic[T]):
    """The write of a caller. `write_batch` sets `result` or `error`."""

    __slots__ = ("error", "finished", "leads", "result", "wake", "work")

    def __init__(self, work: T) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.leads = False
        self.wake = threading.Lock()
        self.wake.acquire()


class GroupCommit(Generic[T]):
    """One caller leads: it writes the jobs of all waiting callers, then the first caller that came in the meantime becomes the leader.

    There is no separate thread, so a single caller writes at once without a hand-over.

    Args:
        write_batch: carries out the jobs in one transaction and sets the outcome of each. Called by one thread at a time.
    """

    def __init__(self, write_batch: Callable[[Sequence[Job[T]]], None], *, most: int = 256) -> None:
        self._write_batch = write_batch
        self._most = most
        self._guard = threading.Lock()
        self._waiting: list[Job[T]] = []
        self._busy = False

    def run(self, work: T) -> Any:
        """Return or raise the outcome of the write after the commit."""
        job = Job(work)
        with self._guard:
            self._waiting.append(job)
            job.leads = not self._busy
            self._busy = True
        if not job.leads:
            self._wait(job)
        if not job.finished:
            self._lead()
        if job.error is not None:
            raise job.error
        return job.result

    def _wait(self, job: Job[T]) -> None:
        try:
            job.wake.acquire()
        except BaseException:  # interrupted in the main thread: withdraw the job, and appoint another leader
            with self._guard:
                if job in self._waiting:
                    self._waiting.remove(job)
                heir = self._appoint() if job.leads and not job.finished else None
            if heir is not None:
                heir.wake.release()
            raise

    def _lead(self) -> None:
        with self._guard:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._write_batch(batch)
        except BaseException:
            for job in batch:
                job.error = StoreUnavailable("the write was interrupted")
            raise
        finally:
            with self._guard:
                heir = self._appoint()
            if heir is not None:
                heir.wake.release()
            for job in batch:
                job.finished = True
                if not job.leads:
                    job.wake.release()

    def _appoint(self) -> Job[T] | None:
        """Make the first waiting job the leader. Call it with the guard held."""
        heir = self._waiting[0] if self._waiting else None
        self._busy = heir is not None
        if heir is not None:
            heir.leads = True
        return heir
