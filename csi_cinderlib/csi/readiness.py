"""Readiness of this process. It answers calls before it is ready, because sidecars give up on a driver that does not respond."""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_cinderlib.errors import NotReady
from csi_cinderlib.observe import logs

STARTING = "this process is still starting"
Check = Callable[[], str]
"""Returns why this process cannot serve calls any more although a new one could, or "". Never blocks."""
_log = logs.logger(__name__)


class Readiness:
    """State of the process: starting, then ready or failed. Thread-safe."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._why = STARTING
        self._stands_by = False
        self._checks: tuple[Check, ...] = ()
        self._restraints: tuple[Check, ...] = ()
        self._logged = ""

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    @property
    def why_not(self) -> str:
        """The reason that callers get; "" when ready."""
        return "" if self.is_ready else self._why

    def ready(self) -> None:
        """All services are loaded, and calls are executed."""
        self._ready.set()

    @property
    def stands_by(self) -> bool:
        """Whether this process waits to take over from another controller."""
        return self._stands_by and not self.is_ready

    def standby(self, why: str) -> None:
        """Wait healthily while another controller is active."""
        self._why, self._stands_by = why, True

    def starting(self) -> None:
        """This is the active controller, and it loads its back ends."""
        self._why, self._stands_by = STARTING, False

    def failed(self, why: str) -> None:
        """The start failed. The process keeps answering, so that users see `why` in the events of their claims."""
        self._why, self._stands_by = why, False
        self._ready.clear()

    def restrain(self, check: Check) -> None:
        """Report this process as not ready while `check` returns a reason, although it executes calls."""
        self._restraints = (*self._restraints, check)

    @property
    def restraint(self) -> str:
        """Why this process is not usable although it executes calls, or ""."""
        return _first(self._restraints) if self.is_ready else ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why Probe reports not ready; empty when ready."""
        return tuple(filter(None, (self.why_not, self.restraint, self.trouble)))

    def watch(self, check: Check) -> None:
        """Add a check to those that `trouble` runs."""
        self._checks = (*self._checks, check)

    @property
    def trouble(self) -> str:
        """Why this process needs a restart, or "". The state of a single back end is never a reason."""
        trouble = _first(self._checks)
        if trouble and trouble != self._logged:
            _log.error("process restart needed", reason=trouble)
        self._logged = trouble
        return trouble

    def check(self) -> None:
        """Raises NotReady."""
        if not self.is_ready:
            raise NotReady(self._why)

    def wait(self, seconds: float) -> bool:
        """Wait until the process is ready; returns whether it is."""
        return self._ready.wait(seconds)


def _first(checks: tuple[Check, ...]) -> str:
    """The first reason that a check returns. A bug in a check must not fail Probe, because the sidecars would exit."""
    for check in checks:
        try:
            if said := check():
                return said
        except Exception as error:
            _log.exception("readiness check failed", error)
    return ""
