"""Disk space in the state directory: new operations need it, and a reserve is kept for operations that free space (promise 28)."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from csi_cinderlib.errors import ResourceExhausted
from csi_cinderlib.host.reserve import Reserve


class Room(Reserve):
    """The reserve of a state directory; get it by `of`. The start of a driver creates the directory."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / "cinder" / "reserve")
        self._state_dir = state_dir

    def check(self) -> None:
        """Raises ResourceExhausted if the disk lacks the space that a clean-up may need."""
        if not self.fill():
            raise ResourceExhausted(
                f"the disk of the state directory {self._state_dir} is full; free space to allow new operations "
                "(detach and delete still work)"
            )


of = functools.cache(Room)
os.register_at_fork(after_in_child=of.cache_clear)  # another thread of the parent may hold its lock
