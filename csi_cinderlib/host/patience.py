"""Work that the kernel may never finish, because a share or a device does not answer. No signal ends such a wait.

It is done in threads of its own, and whoever asked for it waits with patience that ends. What was not waited for goes on, holds the
locks that it took, and keeps what it depends on marked as hanging until it ends. So nothing is done twice at once, one share costs a
few threads, and as soon as it answers again it is used again.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from csi_cinderlib.errors import NoAnswer, OperationPending

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""For one look at a share, device or file system. One that answers does so within milliseconds."""
CROWDED_SECONDS = 1.0
"""For a look that leaves room, at a source that many callers wait for already: they would have all threads until LOOK_SECONDS are over."""
SLOW_SECONDS = 15.0
"""After which a call counts as slow: making a large file system, say, or waiting for a device that hangs."""
WAIT_SECONDS = 110.0
"""For a slow call. The kubelet gives up after 120 s, and what goes on in this process is then the retry's to find."""
_OF_ONE_SOURCE = 4
"""Those who wait for one share, or device, have at most this part (a quarter) of the threads, and those who wait for any at most half."""


class Job(Generic[T]):
    """Work that has been begun in a thread of its own, which does not keep the process from ending."""

    def __init__(self, name: str, work: Callable[[], T], *, ended: Callable[[], object] = lambda: None) -> None:
        self.began = time.monotonic()
        self._work = work
        self._ended = ended
        self._is_done = threading.Event()
        self._answer: T
        self._error: BaseException | None = None
        context = contextvars.copy_context()  # the request's id in the log, and the secrets that it must not show
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=name, daemon=True)

    def start(self) -> None:
        """Raises RuntimeError where this process may have no further thread."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._work()
        except BaseException as error:  # for whoever waits
            self._error = error
        finally:
            self._ended()
            self._is_done.set()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def is_done_within(self, seconds: float) -> bool:
        return self._is_done.wait(max(0.0, seconds))

    def answer(self) -> T:
        """Of one that is done. Raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._answer


def within(seconds: float, name: str, work: Callable[[], T]) -> T:
    """Do the work once, in a thread of its own.

    Raises:
        NoAnswer: it has not ended in time, and goes on.
    """
    job = Job(name, work)
    job.start()
    if not job.is_done_within(seconds):
        raise NoAnswer(f"{name}: not done after {seconds:g} s")
    return job.answer()


class Patience:
    """What is being done, by source: the share, file system or device that it depends on. Thread-safe.

    Args:
        threads: of the server, that wait for calls.
        lookers: of the server, that wait for looks which leave room, and for nothing else.
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
        """Ask a source something that it should answer at once.

        While an earlier look at it has not ended in time, no further one is begun.

        Args:
            key: of what is asked. Callers that ask the same at the same time share one answer.
            leaves_room: the caller gives up early when many others wait already.

        Raises:
            NoAnswer: the source hangs. Also whatever the work raises.
            OperationPending: many wait already, and it has not answered for `crowded_seconds`. It may hang, or be slow.
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
            return job.answer()  # type: ignore[return-value]  # the key stands for the type
        if leaves_room and job.seconds < limit:
            raise OperationPending(
                f"{source} has not answered for {job.seconds:.0f} s, and many calls wait for it; repeat this one later"
            )
        raise _no_answer(source, job.seconds)

    def carry_out(self, source: str, work: Callable[[], T], *, wait: float | None = None) -> T:
        """Do something that may take long.

        Args:
            wait: seconds, instead of `wait_seconds`.

        Raises:
            NoAnswer: a look at the source has not ended; nothing was begun.
            OperationPending: it goes on, and the caller is not to wait longer; or slow calls have the source's threads, and
                nothing was begun. Also whatever the work raises.
        """
        with self._guard:
            self._refuse_hanging(source)
            self._refuse_crowded(source)
            job = self._begin(self._calls, source, next(self._numbers), work)
        limit = self._wait_seconds if wait is None else wait
        if job.is_done_within(min(limit, self._slow_seconds)) or self._slow.waits(source, job, limit):
            return job.answer()
        raise OperationPending(f"{source}: this call is at work for {job.seconds:.0f} s and goes on; repeat it later")

    def is_hanging(self, source: str) -> bool:
        """Whether a look at it has not ended in time."""
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
                f"{source}: {len(slow)} calls are at work for more than {self._slow_seconds:g} s; repeat this one later"
            )

    def _begin(
        self, jobs: dict[str, dict[Hashable, Job[object]]], source: str, key: Hashable, work: Callable[[], T]
    ) -> Job[T]:
        """With the guard held."""
        job = Job(f"at {source}", work, ended=lambda: self._forget(jobs, source, key))
        jobs.setdefault(source, {})[key] = job  # type: ignore[assignment]  # a job of anything
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


class _Room:
    """The threads that may wait for long, so that there are others for what does not hang. Thread-safe.

    Attributes:
        most_of_source: so many may wait for one source.
    """

    def __init__(self, threads: int) -> None:
        self.most_of_source = max(1, threads // _OF_ONE_SOURCE)
        self._most = max(1, threads // 2)
        self._waiting: Counter[str] = Counter()
        self._guard = threading.Lock()

    def waits(self, source: str, job: Job[T], limit: float) -> bool:
        """Whether the job was done before it was `limit` seconds old. Where so many wait already that there is no room: whether it is done."""
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
    return NoAnswer(f"{source} has not answered for {seconds:.0f} s: nothing is done with it until it does")
