"""Work that a process does now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_cinderlib.app.persist import Stopping
from csi_cinderlib.errors import DriverError
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


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
