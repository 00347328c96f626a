"""Limits the concurrent calls into a driver."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import IntEnum
from types import MappingProxyType

from csi_cinderlib.cinder.attributes import optional


class Urgency(IntEnum):
    """Waiting calls with a lower number go first."""

    FREES = 0
    """Removes something: another node waits for it to start a pod, or a full array needs the space."""
    ATTACHES = 1
    """A pod waits for it."""
    CREATES = 2
    """May take minutes, and often comes in large numbers."""


_FREES = "terminate_connection remove_export delete_volume delete_snapshot delete_group delete_group_snapshot misses_file".split()
_ATTACHES = "create_export ensure_export initialize_connection get_volume_stats".split()
URGENCIES: Mapping[str, Urgency] = MappingProxyType(
    {**dict.fromkeys(_FREES, Urgency.FREES), **dict.fromkeys(_ATTACHES, Urgency.ATTACHES)}
)
"""By driver method. All other methods count as creations."""


def urgency(driver: object, operation: Callable[..., object]) -> Urgency:
    """Uses the operation's name, or its attribute name if a decorator hides the name (MacroSAN, Virtuozzo)."""
    name = getattr(operation, "__name__", "")
    if name not in URGENCIES:
        name = next((known for known in URGENCIES if optional(driver, known) == operation), "")
    return URGENCIES.get(name, Urgency.CREATES)


class Slots:
    """Limits the number of concurrent calls; the others wait, the most urgent first.

    Creations use at most half of the slots, so that attaches are not delayed by many creations.

    Args:
        calls: the limit; 0 means no limit.
        extra: additional slots for calls that free resources.
    """

    def __init__(self, calls: int, *, extra: int = 1) -> None:
        self._most = {
            Urgency.FREES: calls + extra,
            Urgency.ATTACHES: calls,
            Urgency.CREATES: calls - calls // 2,
        }
        self._limited = calls > 0
        self._guard = threading.Lock()
        self._running: Counter[Urgency] = Counter()
        self._waiting: Mapping[Urgency, deque[threading.Event]] = {urgency: deque() for urgency in Urgency}

    def hold(self, urgency: Urgency) -> AbstractContextManager[None]:
        """Wait for a slot and hold it."""
        return self._held(urgency) if self._limited else nullcontext()

    @contextmanager
    def _held(self, urgency: Urgency) -> Iterator[None]:
        self._enter(urgency)
        try:
            yield
        finally:
            self._leave(urgency)

    def _enter(self, urgency: Urgency) -> None:
        turn = threading.Event()
        with self._guard:
            self._waiting[urgency].append(turn)
            self._admit()
        try:
            turn.wait()
        except BaseException:  # a signal in the main thread of a program with the library
            self._give_up(urgency, turn)
            raise

    def _give_up(self, urgency: Urgency, turn: threading.Event) -> None:
        with self._guard:
            if not turn.is_set():
                self._waiting[urgency].remove(turn)
                return
        self._leave(urgency)

    def _leave(self, urgency: Urgency) -> None:
        with self._guard:
            self._running[urgency] -= 1
            self._admit()

    def _admit(self) -> None:
        for urgency, waiting in self._waiting.items():
            while waiting and self._has_room(urgency):
                self._running[urgency] += 1
                waiting.popleft().set()

    def _has_room(self, urgency: Urgency) -> bool:
        """A creation needs a slot of all calls and one of the creations."""
        if urgency is Urgency.CREATES:
            return self._running[urgency] < self._most[urgency] and self._running.total() < self._most[Urgency.ATTACHES]
        return self._running.total() < self._most[urgency]
