"""A pool as `csi-cinderlib check` sees it: nothing is made or written, neither in it nor in its place."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from csi_cinderlib.drivers.directories import Capacity, Directory
from csi_cinderlib.drivers.identities import Memory, decide

_MARK = "looked-at"


def mark(state_dir: Path, real_state_dir: Path) -> None:
    """Have drivers in a state directory only look at pools, with what those of the real one remember of them."""
    place = state_dir / "cinder"
    place.mkdir(mode=0o700, exist_ok=True)
    (place / _MARK).write_text(str(real_state_dir / "cinder"))


def real_state(state_path: str) -> str:
    """The real driver's state path, for one that only looks; else ""."""
    with suppress(FileNotFoundError):
        return Path(state_path, _MARK).read_text()
    return ""


class LookedAt(Directory):
    """One pool, or the place of one that the driver has yet to make."""

    def identify(self, memory: Memory, place: str, recorded: Callable[[], Sequence[str]]) -> None:  # noqa: ARG002
        """Raises WrongPool, and OSError where the driver could not write."""
        remembered, forget = memory.recall(self.path), memory.file(self.path)
        decide(self.path, self.find_id(), remembered, forget=forget, is_known=True, recorded=recorded)
        if not os.access(nearest := self._nearest(), os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))

    def capacity(self, *, count_anew: bool = False) -> Capacity:  # noqa: ARG002
        """Also of a place in which there is no pool yet."""
        state = os.statvfs(self._nearest())
        promised = sum(size for _, size in self.files()) if Path(self.path).is_dir() else 0
        return Capacity(
            total=state.f_blocks * state.f_frsize, free=state.f_bavail * state.f_frsize, provisioned=promised
        )

    def _nearest(self) -> Path:
        """What exists of the path."""
        path = Path(self.path)
        return next(place for place in (path, *path.parents) if place.exists())
