"""One call of a persistence plugin at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.errors import StoreUnavailable


class Turns:
    """A lock that a thread may take again, and that reports a holder that does not end.

    A plugin may wait for another thread that calls the library, and that thread for the plugin. So that neither waits for ever, a waiting
    thread gives up if no call has ended for some time. A queue of slow calls is not an error.

    Args:
        owner: for messages.
        patience: how long no call may end, in seconds.
    """

    def __init__(self, owner: str, patience: float) -> None:
        self._owner = owner
        self._patience = patience
        self._lock = threading.RLock()
        self._ended = 0
        self._running = ""

    @contextmanager
    def turn(self, call: str) -> Iterator[None]:
        """Wait for the other threads' calls, and keep them out. Raises StoreUnavailable."""
        self._wait()
        outer, self._running = self._running, call
        try:
            yield
        finally:
            self._running = outer
            self._ended += 1
            self._lock.release()

    def _wait(self) -> None:
        ended = self._ended
        while not self._lock.acquire(timeout=self._patience):
            if ended == self._ended:
                raise StoreUnavailable(
                    f"{self._owner} has been busy with `{self._running}` for {self._patience:g} s; a plugin must not wait for another thread "
                    "that uses the library; set its attribute `patience` if its storage is that slow"
                )
            ended = self._ended
