"""Read-only pools for `csi-cinderlib check`, which creates and writes nothing."""

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
    """Make the drivers of a state directory read-only; they use the pool ids remembered in the real state directory."""
    place = state_dir / "cinder"
    place.mkdir(mode=0o700, exist_ok=True)
    (place / _MARK).write_text(str(real_state_dir / "cinder"))


def real_state(state_path: str) -> str:
    """The real driver's state path for a read-only driver, else ""."""
    with suppress(FileNotFoundError):
        return Path(state_path, _MARK).read_text()
    return ""


class LookedAt(Directory):
    """A pool, or the directory in which the driver would create it."""

    def identify(self, memory: Memory, place: str, recorded: Callable[[], Sequence[str]]) -> None:  # noqa: ARG002
        """Raises WrongPool, and OSError if the driver could not write there."""
        remembered, forget = memory.recall(self.path), memory.file(self.path)
        decide(self.find_id(), remembered, forget=forget, is_known=True, recorded=recorded)
        if not os.access(nearest := self._nearest(), os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))

    def capacity(self, *, count_anew: bool = False) -> Capacity:  # noqa: ARG002
        """Works without a pool as well."""
        state = os.statvfs(self._nearest())
        promised = sum(size for _, size in self.files()) if Path(self.path).is_dir() else 0
        return Capacity(
            total=state.f_blocks * state.f_frsize, free=state.f_bavail * state.f_frsize, provisioned=promised
        )

    def _nearest(self) -> Path:
        """The longest existing prefix of the path."""
        path = Path(self.path)
        return next(place for place in (path, *path.parents) if place.exists())
