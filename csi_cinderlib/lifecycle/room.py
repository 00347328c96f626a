"""Room on the disk of the state directory: nothing new is begun without it, and what frees space has some kept back (promise 28)."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from pathlib import Path

from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.host.reserve import Reserve


class Room:
    """One for each state directory (`of`)."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.reserve = Reserve(state_dir / "cinder" / "reserve")

    def fill(self) -> None:
        """Keep the room back, as far as there is any. A driver's start has made the directory."""
        self.reserve.fill()

    def check(self) -> None:
        """Raises ResourceExhausted when the disk lacks the room that clean-up may need."""
        if not self.reserve.fill():
            raise ResourceExhausted(
                f"the disk of the state directory {self._state_dir} is full: existing volumes can be taken down, and nothing new is "
                "begun"
            )

    def released_if_full(self) -> AbstractContextManager[None]:
        """The room that was kept back is there meanwhile, if the disk has next to none."""
        return self.reserve.released_if_full()


of = functools.cache(Room)
