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
    modifies = True
    pool_mib = 64 * 1024  # thick volumes of all clients; a sparse file
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

    def problems(self) -> list[str]:
        return [*super().problems(), *(f"{name} is not allocated as a whole" for name in self._unallocated())]

    def _unallocated(self) -> list[str]:
        """Not those with ext4, which zeroes its inode tables: the kernel's loop device punches holes for that."""
        kept = [volume for volume in self.truth.existing() if volume.kind != "ext4" and not volume.is_gone]
        thick = [f"volume-{volume.id}" for volume in kept if volume.thick]
        states = {name: (self.pool / name).stat() for name in thick if (self.pool / name).exists()}
        return [name for name, state in states.items() if state.st_blocks * 512 < state.st_size]


_OWN = frozenset({".lock", "ballast"})
