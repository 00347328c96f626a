"""Volumes as files on a disk that can be full or absent."""

from __future__ import annotations

from tests.torture.bed import BYSTANDERS, Bed
from tests.torture.plan import (
    EXT4_GROWTH,
    FULL_POOL,
    FULL_STATE,
    KILLS,
    MISSING_POOL,
    SIGSTOP,
    SYSCALL_ERRORS,
    SYSCALL_KILLS,
)
from tests.torture.truth import GIB


class LoopFileBed(Bed):
    """The driver LoopFileDriver."""

    name = "loopfile"
    snapshots_outlive = True
    disturbances = (KILLS, SYSCALL_KILLS, SYSCALL_ERRORS, SIGSTOP, FULL_STATE, FULL_POOL, MISSING_POOL, EXT4_GROWTH)

    def backend(self) -> dict[str, object]:
        return {
            "driver": "csi_cinderlib.drivers.loopfile.LoopFileDriver",
            "options": {"loopfile_directories": [str(self.pool)]},
        }

    def objects(self) -> dict[str, int]:
        """The names of incomplete files begin with their directory."""
        files = [path for path in self.pool.rglob("*") if path.is_file() and path.name not in {*BYSTANDERS, *_OWN}]
        return {str(path.relative_to(self.pool)): path.stat().st_size // GIB for path in files}


_OWN = frozenset({".lock", "ballast"})
