"""Work that may hang in the kernel because a share or device does not respond. No signal ends such a wait.

The work runs in threads of its own, and callers wait for a limited time. Work that exceeds the limit continues, holds its locks, and
keeps its source marked as hanging until it ends. So no work runs twice at the same time, a hanging share occupies only a few
threads, and a share is used again as soon as it answers.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from csi_cinderlib.errors import NoAnswer, OperationPending

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""Limit for a look at a share, device or file system. A working one answers within milliseconds."""
CROWDED_SECONDS = 1.0
"""Limit for a look that leaves room, if many callers already wait for the source and would occupy all threads for LOOK_SECONDS."""
SLOW_SECONDS = 15.0
"""A call counts as slow after this time, for example during the creation of a large file system or on a hanging device."""
WAIT_SECONDS = 110.0
"""Limit for a slow call. The kubelet gives up after 120 s; its retry then finds the work that continues in this process."""
_OF_ONE_SOURCE = 4
"""Calls that wait for the same source get at most a quarter of the threads (1 / this); all waiting calls get at most half."""


class Job(Generic[T]):
    """Work in a daemon thread of its own."""

    def __init__(self, name: str, work: Callable[[], T], *, ended: Callable[[], object] = lambda: None) -> None:
        self.began = time.monotonic()
        self._work = work
        self._ended = ended
        self._is_done = threading.Event()
        self._answer: T
        self._error: BaseException | None = None
        context = contextvars.copy_context()  # the request's id for the log, and the secrets to redact
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True)

    def start(self) -> None:
        """Raises RuntimeError if the process cannot start another thread."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._work()
        except BaseException as error:  # passed on to the waiting caller
            self._error = error
        finally:
            self._ended()
            self._is_done.set()

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self.began

    def is_done_within(self, seconds: float) -> bool:
        return self._is_done.wait(max(0.0, seconds))

    def answer(self) -> T:
        """The result of a finished job. Raises the error of the work."""
        if self._error is not None:
            raise self._error
        return self._answer


def within(seconds: float, name: str, work: Callable[[], T]) -> T:
    """Do the work in a thread of its own.

    Raises:
        NoAnswer: the work exceeded the limit and continues.
    """
    job = Job(name, work)
    job.start()
    if not job.is_done_within(seconds):
        raise NoAnswer(f"{name}: timed out after {seconds:g} s")
    return job.answer()


class Patience:
    """Runs work by source: the share, file system or device on which the work depends. Thread-safe.

    Args:
        threads: the number of server threads that wait for calls.
        lookers: the number of server threads reserved for looks that leave room.
        look_seconds, crowded_seconds, slow_seconds, wait_seconds: see LOOK_SECONDS, CROWDED_SECONDS, SLOW_SECONDS, WAIT_SECONDS.
    """

    def __init__(
        self,
        threads: int = 128,
        lookers: int = 32,
        *,
        look_seconds: float = LOOK_SECONDS,
        crowded_seconds: float = CROWDED_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._look_seconds = look_seconds
        self._crowded_seconds = min(crowded_seconds, look_seconds)
        self._slow_seconds = slow_seconds
        self._wait_seconds = wait_seconds
        self._looking, self._slow = _Room(lookers), _Room(threads)
        self._numbers = itertools.count()
        self._looks: dict[str, dict[Hashable, Job[object]]] = {}
        self._calls: dict[str, dict[Hashable, Job[object]]] = {}
        self._guard = threading.Lock()

    def look(self, source: str, key: Hashable, work: Callable[[], T], *, leaves_room: bool = False) -> T:
        """Do work that a source should answer at once.

        While an earlier look at the source exceeds its limit, no further look starts.

        Args:
            key: identifies the work. Simultaneous callers with the same key share the answer.
            leaves_room: give up early if many calls wait already.

        Raises:
            NoAnswer: the source hangs. Errors of the work are passed on.
            OperationPending: many calls wait already, and the source has not responded for `crowded_seconds`.
        """
        with self._guard:
            job = self._looks.get(source, {}).get(key)
            if job is None:
                self._refuse_hanging(source)
                job = self._begin(self._looks, source, key, work)
        limit = self._look_seconds
        if leaves_room and not job.is_done_within(self._crowded_seconds - job.seconds):
            is_done = self._looking.waits(source, job, limit)
        else:
            is_done = job.is_done_within(limit - job.seconds)
        if is_done:
            return job.answer()  # type: ignore[return-value]  # the key implies the type
        if leaves_room and job.seconds < limit:
            raise OperationPending(
                f"{source} has not responded for {job.seconds:.0f} s, and many calls wait for it; retry later"
            )
        raise _no_answer(source, job.seconds)

    def carry_out(self, source: str, work: Callable[[], T], *, wait: float | None = None) -> T:
        """Do work that may take long.

        Args:
            wait: seconds, instead of `wait_seconds`.

        Raises:
            NoAnswer: a look at the source hangs; nothing was started.
            OperationPending: the work continues, but the caller must not wait longer; or slow calls occupy the source's
                threads, and nothing was started. Errors of the work are passed on.
        """
        with self._guard:
            self._refuse_hanging(source)
            self._refuse_crowded(source)
            job = self._begin(self._calls, source, next(self._numbers), work)
        limit = self._wait_seconds if wait is None else wait
        if job.is_done_within(min(limit, self._slow_seconds)) or self._slow.waits(source, job, limit):
            return job.answer()
        raise OperationPending(
            f"{source}: the call has been running for {job.seconds:.0f} s and continues; retry later"
        )

    def is_hanging(self, source: str) -> bool:
        """Whether a look at the source exceeds its limit."""
        with self._guard:
            return self._hanging_for(source) > 0

    def _hanging_for(self, source: str) -> float:
        longest = max((job.seconds for job in self._looks.get(source, {}).values()), default=0.0)
        return longest if longest > self._look_seconds else 0.0

    def _refuse_hanging(self, source: str) -> None:
        if seconds := self._hanging_for(source):
            raise _no_answer(source, seconds)

    def _refuse_crowded(self, source: str) -> None:
        slow = [job for job in self._calls.get(source, {}).values() if job.seconds > self._slow_seconds]
        if len(slow) >= self._slow.most_of_source:
            raise OperationPending(
                f"{source}: {len(slow)} calls have been running for more than {self._slow_seconds:g} s; retry later"
            )

    def _begin(
        self, jobs: dict[str, dict[Hashable, Job[object]]], source: str, key: Hashable, work: Callable[[], T]
    ) -> Job[T]:
        """The caller holds the guard."""
        job = Job(f"at {source}", work, ended=lambda: self._forget(jobs, source, key))
        jobs.setdefault(source, {})[key] = job  # type: ignore[assignment]  # jobs of any type
        try:
            job.start()
        except BaseException:
            self._drop(jobs, source, key)
            raise
        return job

    def _forget(self, jobs: dict[str, dict[Hashable, Job[object]]], source: str, key: Hashable) -> None:
        with self._guard:
            self._drop(jobs, source, key)

    def _drop(self, jobs: dict[str, dict[Hashable, Job[object]]], source: str, key: Hashable) -> None:
        del jobs[source][key]
        if not jobs[source]:
            del jobs[source]


@functools.cache
def of_process() -> Patience:
    """For loop devices whose backing file may not answer. It is not created at import; see `concurrency.LateLock`."""
    return Patience()


os.register_at_fork(after_in_child=of_process.cache_clear)  # its threads run in the parent only


class _Room:
    """Limits the threads in long waits, so that others are free for working sources. Thread-safe.

    Attributes:
        most_of_source: the maximum number of threads that wait for one source.
    """

    def __init__(self, threads: int) -> None:
        self.most_of_source = max(1, threads // _OF_ONE_SOURCE)
        self._most = max(1, threads // 2)
        self._waiting: Counter[str] = Counter()
        self._guard = threading.Lock()

    def waits(self, source: str, job: Job[T], limit: float) -> bool:
        """Wait until the job is `limit` seconds old; return whether it is done. Without a free slot, do not wait."""
        with self._guard:
            if self._waiting.total() >= self._most or self._waiting[source] >= self.most_of_source:
                return job.is_done_within(0)
            self._waiting[source] += 1
        try:
            return job.is_done_within(limit - job.seconds)
        finally:
            with self._guard:
                self._waiting[source] -= 1
                if not self._waiting[source]:
                    del self._waiting[source]


def _no_answer(source: str, seconds: float) -> NoAnswer:
    return NoAnswer(f"{source} has not responded for {seconds:.0f} s; no operation starts until it responds")
