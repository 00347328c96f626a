"""Which new work a back end accepts: all of it, no new volumes (drained), or no provisioning at all (paused)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.errors import BackendUnavailable, ResourceExhausted

PAUSED = "it is paused: it provisions nothing, but attaches and detaches volumes"
DRAINED = "accepts no new volumes, because it is drained"


class Intake:
    """Thread-safe. Attaching and detaching do not pass here: they are always allowed.

    A process has one for each name of a back end, also while the back end is replaced or removed: the calls of its former driver go on.

    Args:
        name: of the back end.
    """

    def __init__(self, name: str, *, paused: bool = False, drained: bool = False) -> None:
        self._name = name
        self._guard = threading.Lock()
        self._paused = paused
        self._drained = drained
        self._arriving = 0
        self._working = 0
        self._openings = 0

    def set(self, *, paused: bool, drained: bool) -> None:
        """Change what is accepted from now on. Work in progress goes on."""
        with self._guard:
            self._openings += self._drained and not drained
            self._paused, self._drained = paused, drained

    def drain(self) -> None:
        """Accept no new volumes from now on."""
        self.set(paused=self._paused, drained=True)

    @property
    def openings(self) -> int:
        """How often it accepted volumes again: what was proven of a drained back end holds for the same number only."""
        return self._openings

    @property
    def is_settled(self) -> bool:
        """Whether it is drained, and no volume that was accepted before is still without its record."""
        with self._guard:
            return self._drained and not self._arriving

    @property
    def is_busy(self) -> bool:
        """Whether work that was accepted is still in progress, also in a former driver process."""
        with self._guard:
            return bool(self._arriving or self._working)

    def check(self) -> None:
        """Raises BackendUnavailable while the back end is paused."""
        if self._paused:
            raise BackendUnavailable(self._name, PAUSED)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Held during a call that provisions. Raises BackendUnavailable while the back end is paused."""
        with self._guard:
            self.check()
            self._working += 1
        try:
            yield
        finally:
            with self._guard:
                self._working -= 1

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """Held while a new volume is created, so that `is_settled` proves that none is on its way.

        Raises:
            BackendUnavailable: the back end is paused.
            ResourceExhausted: it is drained.
        """
        with self._guard:
            self.check()
            if self._drained:
                raise ResourceExhausted(f"back end {self._name!r} {DRAINED}")
            self._arriving += 1
        try:
            yield
        finally:
            with self._guard:
                self._arriving -= 1
