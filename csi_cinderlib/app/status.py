"""Status of a running process: GET /status of the administration socket."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from csi_cinderlib import __version__
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.model import times
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


class Status:
    """Collects the status without blocking. The parts of the process add their entries."""

    def __init__(self, settings: Settings, readiness: Readiness, stopping: Stopping) -> None:
        self._settings = settings
        self._readiness = readiness
        self._stopping = stopping
        self._since = time.time()
        self._parts: dict[str, Callable[[], object]] = {}

    def add(self, name: str, tell: Callable[[], object]) -> None:
        """Add a key whose value `tell` returns. An exception of `tell` is shown there and does not affect other keys."""
        self._parts = {**self._parts, name: tell}

    def tell(self) -> dict[str, object]:
        settings, readiness = self._settings, self._readiness
        told: dict[str, object] = {
            "version": __version__,
            "driver_name": settings.driver_name,
            "mode": str(settings.mode),
            "node_name": settings.node_name,
            "pid": os.getpid(),
            "since": times.stamp(datetime.fromtimestamp(self._since, UTC)),
            "uptime_seconds": round(time.time() - self._since),
            "state_dir": str(settings.state_dir),
            "endpoint": settings.endpoint,
            "store": settings.store.plugin,
            "state": self._state(),
            "ready": readiness.is_ready and not readiness.reasons,
            "reasons": list(readiness.reasons),
        }
        return told | {name: _value_of(name, tell) for name, tell in self._parts.items()}

    def _state(self) -> str:
        readiness = self._readiness
        if self._stopping.reason:
            return "stopping"
        if readiness.stands_by:
            return "standby"
        if not readiness.is_ready:
            return "starting"
        return "serving" if readiness.reasons else "ready"


def _value_of(name: str, tell: Callable[[], object]) -> object:
    try:
        return tell()
    except Exception as error:
        _log.exception("status report incomplete", error, part=name)
        return {"error": f"{type(error).__name__}: {error}"}
