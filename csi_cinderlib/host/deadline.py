"""A deadline for this process and its children, in shared memory."""

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
    """A monotonic clock that also counts suspend time. It is the same in all processes of a machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """A time on the clock of `now`. One process sets it. All processes with its file see it at once, even if the setter is stopped.

    Args:
        file: the descriptor from the process that created the deadline. By default a new deadline is created, without an end.
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
    """Kills this process by SIGKILL at a time on the clock of `now`, so that a stopped process cannot continue later.

    It has no effect with a C library without timer_create(2) (glibc before 2.34 has it in librt).
    """

    def __init__(self) -> None:
        self._timer = ctypes.c_void_p()
        self._exists = False
        event = _SIGEVENT.pack(0, signal.SIGKILL, _SIGEV_SIGNAL)
        with suppress(AttributeError):
            kernel.call("timer_create", time.CLOCK_BOOTTIME, event, ctypes.addressof(self._timer))
            self._exists = True

    def set(self, until: float) -> None:
        """Replace the time. Infinity disarms the timer."""
        if not self._exists:
            return
        fraction, seconds = (0.0, 0.0) if math.isinf(until) else math.modf(until)
        time_spec = _ITIMERSPEC.pack(0, 0, int(seconds), int(fraction * 1e9))
        kernel.call("timer_settime", self._timer.value, _TIMER_ABSTIME, time_spec, None)
