"""Administration of a running process, by the routes of its administration socket and by signals."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from csi_cinderlib.app.log_level import LogLevel
from csi_cinderlib.app.routes import Request, Routes
from csi_cinderlib.app.signals import Signals
from csi_cinderlib.app.status import Status
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs, stacks

_log = logs.logger(__name__)


class Console:
    """One per process. The parts of the process add routes, status entries and actions.

    Args:
        reread: returns the current settings. Raises ConfigurationError. By default settings never change.
    """

    def __init__(
        self,
        settings: Settings,
        readiness: Readiness,
        stopping: Stopping,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        self.stopping = stopping
        self.routes = Routes()
        self.status = Status(settings, readiness, stopping)
        self.log_level = LogLevel(settings.log.level)
        self._settings = settings
        self._reread = reread or (lambda: settings)
        self._on_reread: tuple[Callable[[], object], ...] = ()
        self._on_dump: tuple[Callable[[], object], ...] = (stacks.log,)
        self.status.add("log", self.log_level.tell)
        self.routes.add("GET", "/status", self._report_status, quick=True)
        self.routes.add("GET", "/loglevel", self.log_level.asked, quick=True)
        self.routes.add("PUT", "/loglevel", self.log_level.put, quick=True)
        self.routes.add("GET", "/stacks", self._report_stacks, quick=True)

    def listen(self) -> None:
        """Handle signals from now on. Call it in the main thread."""
        Signals({signal.SIGHUP: self.reread, signal.SIGUSR1: self._dump}).listen()

    def on_reread(self, work: Callable[[], object]) -> None:
        """Call `work` at each SIGHUP, to reload its files."""
        self._on_reread = (*self._on_reread, work)

    def on_dump(self, work: Callable[[], object]) -> None:
        """Call `work` at each SIGUSR1, to log the stacks of other processes."""
        self._on_dump = (*self._on_dump, work)

    def reread(self) -> None:
        """Apply settings that can change at runtime, and log other changed settings."""
        is_read = self._take_over()
        for work in self._on_reread:
            work()
        if is_read:
            _log.info("configuration reloaded", signal="SIGHUP")

    def _take_over(self) -> bool:
        try:
            settings = self._reread()
        except ConfigurationError as error:
            _log.error("configuration reload failed", reason=str(error))
            return False
        self.log_level.configure(settings.log.level)
        if changed := restart_needed(self._settings, settings):
            _log.warning("restart needed for changed settings", settings=changed)
        return True

    def _dump(self) -> None:
        for work in self._on_dump:
            work()

    def _report_status(self, _request: Request) -> dict[str, Any]:
        return self.status.tell()

    def _report_stacks(self, _request: Request) -> dict[str, Any]:
        return {"stacks": stacks.collect()}


def restart_needed(before: Settings, now: Settings) -> list[str]:
    """Names of changed settings that are read only at the start."""
    now = replace(now, log=replace(now.log, level=before.log.level))
    return [item.name for item in fields(Settings) if getattr(before, item.name) != getattr(now, item.name)]
