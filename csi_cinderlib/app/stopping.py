"""Work that goes on until it succeeds, or now and then, until the process is to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.observe import logs

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Between attempts; the last one repeats."""

_log = logs.logger(__name__)


class Stopping:
    """That the process is to end, and why. One a process, made by its main thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._wakes, True)
        self.reason = ""
        self.error: DriverError | None = None
        self.is_busy = False
        """Whether calls were still at work when their time to finish was over."""

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as the request to end.

        The kernel may hand a signal to any thread, and Python's handlers run when the main thread wakes up: so it waits at a pipe
        that the signal itself writes to. A handler that set the event could meet its lock held by the very thread it interrupts.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.reason = self.reason or signal.Signals(number).name

    def failed(self, error: DriverError) -> None:
        """End with this error."""
        self.reason, self.error = "cannot start", error
        os.write(self._wake, b"!")

    def rest(self) -> None:
        """Wait in the main thread until the process is to end."""
        while not self.reason:
            os.read(self._wakes, 1)
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait in any other thread; whether the process is to end."""
        return self._event.wait(seconds)


def _nobody(_why: str) -> None:
    """Told of a failure, does nothing."""


def retry(
    attempt: Callable[[], None],
    stopping: Stopping,
    event: str,
    *,
    failed: Callable[[str], None] = _nobody,
    wait: Callable[[float], bool] | None = None,
) -> bool:
    """Repeat an attempt until it succeeds (True) or the process is to end (False).

    Args:
        event: what the log calls a failure.
        failed: told of each failure.
        wait: waits between two attempts; whether there is to be no further one. The default: `stopping` tells.

    Raises:
        ConfigurationError: no repetition mends that.
    """
    waits = iter(RETRY_SECONDS)
    while True:
        try:
            attempt()
        except ConfigurationError:
            raise
        except DriverError as error:
            if stopping.wait(0):
                return False
            seconds = next(waits, RETRY_SECONDS[-1])
            _log.warning(event, reason=str(error), next_attempt_in_seconds=seconds)
            failed(str(error))
        else:
            return True
        if (wait or stopping.wait)(seconds):
            return False


def every(
    seconds: float, name: str, work: Callable[[], object], stopping: Stopping, *, first: float | None = None
) -> None:
    """Do it in a thread until the process is to end; for the first time after `first` seconds."""

    def run() -> None:
        pause = seconds if first is None else first
        while not stopping.wait(pause):
            pause = seconds
            try:
                work()
            except DriverError as error:
                _log.warning(f"{name} failed", reason=str(error))
            except Exception as error:  # a bug that meets one record must not end a chore for ever
                _log.exception(f"{name} failed", error)

    threading.Thread(target=run, name=name, daemon=True).start()
