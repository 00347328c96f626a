"""How many calls each back end may have under way, so that a slow one leaves threads of the server to the others (promise 36)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from csi_cinderlib.errors import BackendBusy

RESERVED = 16
"""Threads that no back end gets: for calls that only read records."""
FEWEST = 4
"""Calls that each back end has room for in any case."""


def room(in_use: Mapping[str, int], name: str, *, back_ends: int, threads: int, releases: bool) -> int:
    """The most calls that a back end may have under way now. Pure.

    Half of the threads are divided equally, and whatever the others do, a back end has its part; the rest is for whoever comes
    first. A quarter of its part it has for detaching and deleting alone.

    Args:
        in_use: calls under way by back end.
        releases: whether the room is for a call that detaches or deletes.
    """
    part = max(FEWEST, (threads - RESERVED) // (2 * max(1, back_ends)))
    others = [count for other, count in in_use.items() if other != name]
    idle = max(0, back_ends - 1 - len(others))
    most = threads - RESERVED - sum(max(part, count) for count in others) - idle * part
    return max(part, most) - (0 if releases else part // 4)


class Bulkhead:
    """Thread-safe.

    Args:
        threads: of the server, for calls that create something, and as many for the others.
        back_ends: how many there are.
    """

    def __init__(self, threads: int, back_ends: Callable[[], int]) -> None:
        self._threads = threads
        self._back_ends = back_ends
        self._creating: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._waiting: set[int] = set()
        self._guard = threading.Lock()

    def waiting(self) -> frozenset[int]:
        """The threads whose calls wait for a back end now."""
        with self._guard:
            return frozenset(self._waiting)

    @contextmanager
    def entered(self, name: str, *, creates: bool = False, releases: bool = False) -> Iterator[None]:
        """Count a call to that back end while this lasts.

        Raises:
            BackendBusy: it has as many under way as it may have.
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
