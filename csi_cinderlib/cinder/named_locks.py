"""The locks of Cinder's volume manager, by its names: a source must not be deleted while it is copied.

With a store that other processes can open, they are Cinder's locks on files. The records of another store exist in this process only, so a
lock between its threads is enough, and takes a hundredth of the time. A process that has forked shares these records with its children, so
it and they lock the files as well.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakValueDictionary

from csi_cinderlib.cinder import faults
from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.persistence.api import Store


class NamedLocks:
    """The locks of the back ends of this process."""

    def __init__(self) -> None:
        self.has_forked = False
        """Whether this process has forked, or is the child of one that has used the library."""
        self._guard = LateLock()
        self._of_threads: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    @contextmanager
    def hold(self, name: str, store: Store, backend: str) -> Iterator[None]:
        """Hold the lock of this name, for an object of this store.

        Raises:
            HostError, BackendError: the file cannot be locked.
        """
        with ExitStack() as held:
            if not store.traits.shared:
                held.enter_context(self._of_name(name))
            if store.traits.shared or self.has_forked:
                with faults.translated(backend):
                    held.enter_context(_lock_on_file(name))
            yield

    def _of_name(self, name: str) -> threading.Lock:
        with self._guard:
            return self._of_threads.setdefault(name, threading.Lock())

    def note_fork(self) -> None:
        self.has_forked = True

    def begin_child(self) -> None:
        """Forget the locks, which threads of the parent may hold."""
        self._of_threads = WeakValueDictionary()


def _lock_on_file(name: str) -> Any:
    """Cinder requires ASCII."""
    from cinder import coordination

    return coordination.COORDINATOR.get_lock(name.encode("ascii", "backslashreplace").decode())


OF_PROCESS = NamedLocks()
os.register_at_fork(before=OF_PROCESS.note_fork, after_in_child=OF_PROCESS.begin_child)
