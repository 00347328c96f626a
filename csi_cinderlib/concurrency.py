"""Locks per object that refuse instead of queueing; imports that must not meet eventlet, or another module."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

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


_imports = threading.RLock()


@contextmanager
def without(name: str) -> Iterator[bool]:
    """Let the import of this module fail inside, unless this process has it (or a stand-in for it) already: then it answers False.

    For what a library imports only if it is there. One thread at a time, because what fails and what not is the same for all of them.
    """
    modules = cast("dict[str, object]", sys.modules)
    with _imports:
        if name in modules:
            yield False
            return
        modules[name] = None  # the import system's own way to say "not there"
        try:
            yield True
        finally:
            if modules.get(name, True) is None:
                del modules[name]


def without_eventlet() -> AbstractContextManager[bool]:
    """The libraries below os-brick and Cinder import it where they can, only to ask whether it has patched anything."""
    return without("eventlet")
