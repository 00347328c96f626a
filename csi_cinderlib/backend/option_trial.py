"""Checks options in a driver's process that ends afterwards, so that a working back end is not replaced by a wrong one."""

from __future__ import annotations

from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import remote_store
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.line import Line
from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.persistence.api import Store


class OptionTrial:
    """One check, which `stop` ends from any thread."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self._is_stopped = False

    def run(self, assignment: Assignment, *, store: Store, deadline: Deadline, seconds: float) -> None:
        """Load the driver and check its options. Only drivers that contact the storage when they are loaded do so here.

        Raises:
            ConfigurationError, HostError: as the process found out.
            BackendUnavailable: the process ended, or took longer than `seconds`.
        """
        handlers: dict[str, Any] = {**remote_store.served(store), "measured": _discard}

        def refuse() -> None:
            if self._is_stopped:
                raise BackendUnavailable(assignment.settings.name, "stopped")

        line = self._line = Line(assignment, handlers, shared=deadline.file, lost=_discard, refuse=refuse)
        try:
            line.open()
            refuse()  # may have been stopped during the fork
            faultpoints.add_driver(line.process.pid)
            line.set_up(seconds, "check_options")
        finally:
            line.close()

    def stop(self) -> None:
        """Kill the process, and start none."""
        self._is_stopped = True
        if (line := self._line) is not None:
            line.process.kill()


def _discard(*_: object) -> None:
    """Calls of a process that lives for one check are not measured."""
