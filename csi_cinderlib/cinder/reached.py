"""Whether a driver's report comes from its array. Several drivers catch the error when it does not answer, log it, and report nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from csi_cinderlib.backend.stats import BackendStats
from csi_cinderlib.observe import redact

_LONGEST = 300
"""Characters of a logged message that are repeated in ours."""


class _Errors(logging.Handler):
    """The messages of errors that one thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread != self._thread:
            return
        with suppress(Exception):  # a driver's mistake in a message; the log itself tells of it
            self.messages.append(" ".join(redact.text(record.getMessage()).split()))


@contextmanager
def heard() -> Iterator[list[str]]:
    """The messages of the errors that this thread logs while it lasts."""
    errors, root = _Errors(), logging.getLogger()
    root.addHandler(errors)
    try:
        yield errors.messages
    finally:
        root.removeHandler(errors)


def why_not(raw: Mapping[str, Any], stats: BackendStats, errors: list[str]) -> str:
    """Why this report says that the array was not reached, or "".

    Args:
        errors: what the driver logged before it reported.
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
    """What was logged last, as the end of a message."""
    return f"; last error logged: {errors[-1][:_LONGEST]}" if errors else ""
