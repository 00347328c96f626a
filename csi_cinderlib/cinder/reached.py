"""Detect reports of unreachable arrays. Several drivers catch and log the error, and report nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from csi_cinderlib.backend.stats import BackendStats
from csi_cinderlib.observe import redact

_LONGEST = 300
"""The maximum number of characters of a logged message in an error."""


class _Errors(logging.Handler):
    """Collects the error messages logged by one thread."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        with suppress(Exception):  # invalid arguments of a message; the log reports them
            self.messages.append(" ".join(redact.text(record.getMessage()).split()))


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect the error messages that this thread logs in the block."""
    errors, root = _Errors(), logging.getLogger()
    root.addHandler(errors)
    try:
        yield errors.messages
    finally:
        root.removeHandler(errors)


def why_not(raw: Mapping[str, Any], stats: BackendStats, errors: list[str]) -> str:
    """Why the report means that the array is unreachable, or "".

    Args:
        errors: the errors that the driver logged before the report.
    """
    pools = raw.get("pools") or [raw]
    if all(str(pool.get("backend_state", raw.get("backend_state", ""))).lower() == "down" for pool in pools):
        return f"the driver reports that the back end is down{told(errors)}"
    if all(pool.total == 0 for pool in stats.pools):
        return f"the driver reports no capacity; the array may be unreachable{told(errors)}"
    if errors and all(pool.total is None for pool in stats.pools):
        return f"the driver reports no capacity{told(errors)}"
    return ""


def told(errors: list[str]) -> str:
    """The last logged error, as a suffix for a message."""
    return f"; last error logged: {errors[-1][:_LONGEST]}" if errors else ""
