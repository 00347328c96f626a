"""Locks per object that refuse instead of queueing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.errors import OperationPending


class KeyedLocks:
    """Try-locks by key. A busy key is an error at once, so that a slow call never holds up the threads of the server."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, *keys: str) -> Iterator[None]:
        """Hold all of these keys, or none of them.

        Raises:
            OperationPending: another call holds one (CSI: ABORTED, "operation pending").
        """
        wanted = set(keys)
        with self._guard:
            if busy := wanted & self._held:
                raise OperationPending(f"another call is at work on {', '.join(sorted(busy))}")
            self._held |= wanted
        try:
            yield
        finally:
            with self._guard:
                self._held -= wanted
