"""Many threads' writes in one transaction: while one commit is under way, the writes of everybody else gather for the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from csi_cinderlib.errors import StoreUnavailable

T = TypeVar("T")


class Job(Generic[T]):
    """One caller's write. `write_batch` sets either `result` or `error`."""

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
    """The first caller who finds nobody writing writes for all who wait, then hands over to the first of those who came meanwhile.

    There is no thread for it: a caller who is alone writes at once and pays for no hand-over.

    Args:
        write_batch: carries out the jobs in one transaction, called by one thread at a time; sets each job's outcome.
    """

    def __init__(self, write_batch: Callable[[Sequence[Job[T]]], None], *, most: int = 256) -> None:
        self._write_batch = write_batch
        self._most = most
        self._guard = threading.Lock()
        self._waiting: list[Job[T]] = []
        self._busy = False

    def run(self, work: T) -> Any:
        """Returns or raises the work's outcome after the commit."""
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
        except BaseException:  # an interrupt in the main thread: withdraw, and do not leave the others without a leader
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
        """Call with the guard held."""
        heir = self._waiting[0] if self._waiting else None
        self._busy = heir is not None
        if heir is not None:
            heir.leads = True
        return heir
