"""A moment until which this process and those that it starts may act, in memory that they share."""

from __future__ import annotations

import mmap
import os
import struct
import time

_FORMAT = struct.Struct("d")


def now() -> float:
    """As the monotonic clock, and it goes on while the machine sleeps. The same in all processes of a machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """A time by `now`. One process sets it; all that were given its file see it at once, also while that one is stopped.

    Args:
        file: of the process that set it up; without it this process does, and there is no end to begin with.
    """

    def __init__(self, file: int = -1) -> None:
        self.file = file if file >= 0 else os.memfd_create("deadline")
        if file < 0:
            os.write(self.file, _FORMAT.pack(float("inf")))
        self._memory = mmap.mmap(self.file, _FORMAT.size)

    def set(self, until: float) -> None:
        self._memory[:] = _FORMAT.pack(until)

    @property
    def until(self) -> float:
        (until,) = _FORMAT.unpack(self._memory)
        return float(until)
