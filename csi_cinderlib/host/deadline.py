"""A moment until which this process and those that it starts may act, in memory that they share."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import signal
import struct
import time
from contextlib import suppress

from csi_cinderlib.host import kernel

_FORMAT = struct.Struct("d")
_SIGEVENT = struct.Struct("Pii48x")
_ITIMERSPEC = struct.Struct("qqqq")
_SIGEV_SIGNAL, _TIMER_ABSTIME = 0, 1


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


class KillTimer:
    """Ends this process at a time by `now`, by SIGKILL from the kernel: a process that is stopped then does not go on later.

    Without effect on a C library that has no timer_create(2) (glibc before 2.34 has it in librt).
    """

    def __init__(self) -> None:
        self._timer = ctypes.c_void_p()
        self._exists = False
        event = _SIGEVENT.pack(0, signal.SIGKILL, _SIGEV_SIGNAL)
        with suppress(AttributeError):
            kernel.call("timer_create", time.CLOCK_BOOTTIME, event, ctypes.addressof(self._timer))
            self._exists = True

    def set(self, until: float) -> None:
        """Instead of the time before. Infinity is never."""
        if not self._exists:
            return
        fraction, seconds = (0.0, 0.0) if math.isinf(until) else math.modf(until)
        time_spec = _ITIMERSPEC.pack(0, 0, int(seconds), int(fraction * 1e9))
        kernel.call("timer_settime", self._timer.value, _TIMER_ABSTIME, time_spec, None)
