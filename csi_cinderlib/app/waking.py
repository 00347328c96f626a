"""A periodic task that an event can make run at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_cinderlib.app.stopping import Stopping, run_once


class Chore:
    """Runs a task periodically in a thread until the process stops or `end` is called.

    Args:
        first: delay of the first run; None is `seconds`.
    """

    def __init__(
        self, seconds: float, name: str, work: Callable[[], object], stopping: Stopping, *, first: float | None = None
    ) -> None:
        self._seconds = seconds
        self._name = name
        self._work = work
        self._stopping = stopping
        self._first = seconds if first is None else first
        self._due = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Run the task now, or once more after the current run."""
        self._due.set()

    def end(self) -> None:
        """End the thread after the current run."""
        self._is_over = True
        self._due.set()

    def _run(self) -> None:
        pause = self._first
        while True:
            self._due.wait(pause)
            self._due.clear()
            if self._is_over or self._stopping.wait(0):
                return
            pause = self._seconds
            run_once(self._name, self._work)
