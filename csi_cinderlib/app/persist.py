"""Going on until it works, or until the process is to end."""

from __future__ import annotations

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
    """That the process is to end, and why."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""
        self.error: DriverError | None = None

    def signalled(self, number: int, _frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        self._event.set()

    def failed(self, error: DriverError) -> None:
        """End with this error."""
        self.reason, self.error = "cannot start", error
        self._event.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the process is to end."""
        return self._event.wait(seconds)


def _nobody(_why: str) -> None:
    """Told of a failure, does nothing."""


def persist(
    attempt: Callable[[], None], stopping: Stopping, event: str, *, failed: Callable[[str], None] = _nobody
) -> bool:
    """Repeat an attempt until it succeeds (True) or the process is to end (False).

    Args:
        event: what the log calls a failure.
        failed: told of each failure.

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
            seconds = next(waits, RETRY_SECONDS[-1])
            _log.warning(event, reason=str(error), next_attempt_in_seconds=seconds)
            failed(str(error))
        else:
            return True
        if stopping.wait(seconds):
            return False
