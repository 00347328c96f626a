"""Limits the calls in progress per back end, so that a slow one leaves server threads to the others (promise 36)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from csi_cinderlib.errors import BackendBusy

RESERVED = 16
"""Threads reserved for calls that only read records."""
FEWEST = 4
"""The calls that each back end may always have in progress."""


def room(in_use: Mapping[str, int], name: str, *, back_ends: int, threads: int, releases: bool) -> int:
    """The maximum number of calls in progress for a back end at this moment. Pure.

    Half of the threads are divided equally among the back ends: each always has its share. The other half goes to the first
    callers. A quarter of a share is reserved for detaching and deleting.

    Args:
        in_use: calls in progress by back end.
        releases: whether the call detaches or deletes.
    """
    part = max(FEWEST, (threads - RESERVED) // (2 * max(1, back_ends)))
    others = [count for other, count in in_use.items() if other != name]
    idle = max(0, back_ends - 1 - len(others))
    most = threads - RESERVED - sum(max(part, count) for count in others) - idle * part
    return max(part, most) - (0 if releases else part // 4)


class Bulkhead:
    """Thread-safe.

    Args:
        threads: of the server, for calls that create something; the same number serves all other calls.
        back_ends: returns the number of back ends.
    """

    def __init__(self, threads: int, back_ends: Callable[[], int]) -> None:
        self._threads = threads
        self._back_ends = back_ends
        self._creating: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._waiting: set[int] = set()
        self._guard = threading.Lock()

    def waiting(self) -> frozenset[int]:
        """The threads whose calls are waiting for a back end."""
        with self._guard:
            return frozenset(self._waiting)

    @contextmanager
    def entered(self, name: str, *, creates: bool = False, releases: bool = False) -> Iterator[None]:
        """Count a call to the back end for the duration of the block.

        Raises:
            BackendBusy: the back end has reached its limit.
        """
        in_use = self._creating if creates else self._others
        with self._guard:
            count, back_ends = in_use[name], self._back_ends()
            if count >= room(+in_use, name, back_ends=back_ends, threads=self._threads, releases=creates or releases):
                raise BackendBusy(f"back end {name!r} is busy: {count} calls in progress")
            in_use[name] += 1
            self._waiting.add(threading.get_ident())
        try:
            yield
        finally:
            with self._guard:
                in_use[name] -= 1
                self._waiting.discard(threading.get_ident())
