"""Retries and periodic tasks that run until the process stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.observe import logs

RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between attempts; the last value repeats."""

_log = logs.logger(__name__)


class Stopping:
    """The request to stop the process, with its reason. One per process, created by the main thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._wakes, True)
        self.reason = ""
        self.error: DriverError | None = None
        self.is_busy = False
        """Whether calls were still running after the grace period of the shutdown."""

    def listen(self) -> None:
        """Stop the process at SIGTERM and SIGINT.

        The kernel may deliver a signal to any thread, and handlers of Python run when the main thread wakes up. So the main thread
        waits at a pipe to which the signal writes. A handler that set the event could deadlock: the interrupted thread may hold its
        lock.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.reason = self.reason or signal.Signals(number).name

    def failed(self, error: DriverError) -> None:
        """Stop the process with this error."""
        self.reason, self.error = "cannot start", error
        os.write(self._wake, b"!")

    def rest(self) -> None:
        """Wait in the main thread for the request to stop."""
        while not self.reason:
            os.read(self._wakes, 1)
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait in any other thread; returns whether the process is stopping."""
        return self._event.wait(seconds)


def _ignore(_why: str) -> None:
    """Default for `failed` of `retry`."""


def retry(
    attempt: Callable[[], None],
    stopping: Stopping,
    event: str,
    *,
    failed: Callable[[str], None] = _ignore,
    wait: Callable[[float], bool] | None = None,
    **values: object,
) -> bool:
    """Repeat an attempt until it succeeds (True) or the process stops (False).

    Args:
        event: log event of a failure.
        failed: called with the reason of each failure.
        wait: waits between two attempts; returns whether to give up. Default: `stopping.wait`.
        values: further values of the log event.

    Raises:
        ConfigurationError: a retry cannot help.
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
            _log.warning(event, **values, reason=str(error), next_attempt_in_seconds=seconds)
            failed(str(error))
        else:
            return True
        if (wait or stopping.wait)(seconds):
            return False


def every(
    seconds: float, name: str, work: Callable[[], object], stopping: Stopping, *, first: float | None = None
) -> None:
    """Run a task periodically in a thread until the process stops, for the first time after `first` seconds."""

    def run() -> None:
        pause = seconds if first is None else first
        while not stopping.wait(pause):
            pause = seconds
            run_once(name, work)

    threading.Thread(target=run, name=name, daemon=True).start()


def run_once(name: str, work: Callable[[], object]) -> None:
    """Run a task once. Its errors are logged."""
    try:
        work()
    except DriverError as error:
        _log.warning("background task failed", task=name, reason=str(error))
    except Exception as error:  # a bug with one record must not end the task permanently
        _log.exception("background task failed", error, task=name)
