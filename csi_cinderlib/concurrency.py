"""Try-locks by key, a gate, locks created late, and imports with a module hidden."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, cast

from csi_cinderlib.errors import OperationPending


class KeyedLocks:
    """Try-locks by key. A busy key raises at once, so a slow call never blocks the threads of the server.

    A key can also be held shared: any number of clones can read from a volume, but it cannot be deleted in the meantime.
    """

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._shared: Counter[str] = Counter()
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, *keys: str, shared: Iterable[str] = ()) -> Iterator[None]:
        """Hold all keys or none. Several callers can hold the `shared` keys at the same time.

        Raises:
            OperationPending: another call holds one of the keys (CSI: ABORTED, "operation pending").
        """
        wanted, with_others = set(keys), set(shared) - set(keys)
        with self._guard:
            if busy := {key for key in wanted if key in self._held or key in self._shared} | (with_others & self._held):
                raise OperationPending(f"another call is in progress for {', '.join(sorted(busy))}")
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


class Gate:
    """Lets any number of threads work (`with gate:`), or one thread change what they work with (`with gate.closed():`).

    A thread that works already may enter again, even while another one waits for the others to leave.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._depths: Counter[int] = Counter()
        self._closer = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._closer not in {0, me} and me not in self._depths:
                self._changed.wait()
            self._depths[me] += 1

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _: TracebackType | None
    ) -> None:
        me = threading.get_ident()
        with self._changed:
            self._depths[me] -= 1
            if not self._depths[me]:
                del self._depths[me]
                if self._closer:
                    self._changed.notify_all()

    def shut(self, timeout: float) -> bool:
        """Let no thread begin any more, and wait until none works. Returns whether that was so in time (seconds)."""
        me = threading.get_ident()
        with self._changed:
            self._closer = self._closer or me
            return self._changed.wait_for(lambda: not self._depths.keys() - {me}, timeout)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Wait until no other thread works, and let none begin meanwhile."""
        me = threading.get_ident()
        with self._changed:
            while self._closer:
                self._changed.wait()
            self._closer = me
            while self._depths.keys() - {me}:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closer = 0
                self._changed.notify_all()


class LateLock:
    """A lock that outlives a set-up of the library, such as that of a module. It is created on first use.

    A lock created at import would not suit a process that calls `eventlet.monkey_patch()` afterwards: a green thread that waits for
    it stops all others. In a forked child the lock is free, whichever thread held it in the parent.
    """

    def __init__(self, *, reentrant: bool = False) -> None:
        self._reentrant = reentrant
        self._made: dict[str, Any] = {}
        _late_locks.add(self)

    def _lock(self) -> Any:
        return self._made.get("lock") or self._made.setdefault("lock", self._make())

    def _make(self) -> Any:
        return threading.RLock() if self._reentrant else threading.Lock()

    def __enter__(self) -> None:
        self._lock().acquire()

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _: TracebackType | None
    ) -> None:
        self._lock().release()

    def forget(self) -> None:
        """Replace the lock, in a forked child."""
        self._made = {}


_late_locks: weakref.WeakSet[LateLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in _late_locks:
        lock.forget()


os.register_at_fork(after_in_child=_forget_all)


_imports = LateLock(reentrant=True)


def importing() -> AbstractContextManager[None]:
    """Hold the lock of those who change which module an import finds."""
    return _imports


@contextmanager
def without(name: str) -> Iterator[bool]:
    """Make imports of the module fail inside the block. Yields False if it, or a substitute for it, is already imported.

    Use it for optional imports of libraries. `sys.modules` is shared by all threads, so one thread at a time can do this.
    """
    modules = cast("dict[str, object]", sys.modules)
    with _imports:
        if name in modules:
            yield False
            return
        modules[name] = None  # the import system raises ModuleNotFoundError for it
        try:
            yield True
        finally:
            if modules.get(name, True) is None:
                del modules[name]


def without_eventlet() -> AbstractContextManager[bool]:
    """Hide eventlet. Libraries below os-brick and Cinder import it only to check whether it has patched anything."""
    return without("eventlet")
