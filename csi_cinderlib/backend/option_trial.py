"""Checks options in a driver's process that ends afterwards, so that a working back end is not replaced by a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import remote_store
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.line import Line
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.persistence.api import Store


def run(
    assignment: Assignment, *, store: Store, deadline: Deadline, seconds: float, refuse: Callable[[], None]
) -> None:
    """Load the driver and check its options. Only drivers that contact the storage when they are loaded do so here.

    Args:
        refuse: called just before the fork; raises if the check is no longer wanted.

    Raises:
        ConfigurationError, HostError: as the process found out.
        BackendUnavailable: the process ended, or took longer than `seconds`.
    """
    handlers: dict[str, Any] = {**remote_store.served(store), "measured": _discard}
    line = Line(assignment, handlers, shared=deadline.file, lost=_discard, refuse=refuse)
    try:
        line.open()
        faultpoints.add_driver(line.process.pid)
        line.set_up(seconds, "check_options")
    finally:
        line.close()


def _discard(*_: object) -> None:
    """Calls of a process that lives for one check are not measured."""
