"""Room on the disk of the state directory: nothing new is begun without it, and what frees space has some kept back (promise 28)."""

from __future__ import annotations

import functools
from pathlib import Path

from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.host.reserve import Reserve


class Room(Reserve):
    """One for each state directory (`of`). A driver's start makes the directory."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / "cinder" / "reserve")
        self._state_dir = state_dir

    def check(self) -> None:
        """Raises ResourceExhausted when the disk lacks the room that clean-up may need."""
        if not self.fill():
            raise ResourceExhausted(
                f"the disk of the state directory {self._state_dir} is full: existing volumes can be taken down, and nothing new is "
                "begun"
            )


of = functools.cache(Room)
