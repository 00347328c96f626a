"""Locks per object that refuse instead of queueing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from csi_cinderlib.errors import OperationPending


class KeyedLocks:
    """Try-locks by key. A busy key is an error at once, so that a slow call never holds up the threads of the server.

    A key may also be held shared: any number of clones read from one volume, but nobody deletes it meanwhile.
    """

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._shared: Counter[str] = Counter()
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, *keys: str, shared: Iterable[str] = ()) -> Iterator[None]:
        """Hold all of these keys, or none of them; the `shared` ones together with others that share them.

        Raises:
            OperationPending: another call holds one (CSI: ABORTED, "operation pending").
        """
        wanted, with_others = set(keys), set(shared) - set(keys)
        with self._guard:
            if busy := {key for key in wanted if key in self._held or key in self._shared} | (with_others & self._held):
                raise OperationPending(f"another call is at work on {', '.join(sorted(busy))}")
            self._held |= wanted
            self._shared.update(with_others)
        try:
            yield
        finally:
            with self._guard:
                self._held -= wanted
                self._shared.subtract(with_others)
                for key in with_others:
                    if not self._shared[key]:
                        del self._shared[key]
