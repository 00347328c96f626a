"""How administrators reach a running process: the routes of its administration socket, and signals."""

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
    """One a process. The halves of the process add their routes, their part of the status, and what they do when asked.

    Args:
        reread: the settings as they are now. Raises ConfigurationError. By default they never change.
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
        self.routes.add("GET", "/status", self._tell_status, quick=True)
        self.routes.add("GET", "/loglevel", self.log_level.asked, quick=True)
        self.routes.add("PUT", "/loglevel", self.log_level.put, quick=True)
        self.routes.add("GET", "/stacks", self._tell_stacks, quick=True)

    def listen(self) -> None:
        """Take signals from now on. Call it in the main thread."""
        Signals({signal.SIGHUP: self.reread, signal.SIGUSR1: self._dump}).listen()

    def on_reread(self, work: Callable[[], object]) -> None:
        """Have `work` done at each SIGHUP: it reads its own files again."""
        self._on_reread = (*self._on_reread, work)

    def on_dump(self, work: Callable[[], object]) -> None:
        """Have `work` done at each SIGUSR1: it has other processes log their threads' stacks."""
        self._on_dump = (*self._on_dump, work)

    def reread(self) -> None:
        """Take over what can change while the process runs, and name what else has changed."""
        is_read = self._take_over()
        for work in self._on_reread:
            work()
        if is_read:
            _log.info("configuration was read again", signal="SIGHUP")

    def _take_over(self) -> bool:
        try:
            settings = self._reread()
        except ConfigurationError as error:
            _log.error("configuration cannot be read; the previous one stays in effect", reason=str(error))
            return False
        self.log_level.configure(settings.log.level)
        if changed := restart_needed(self._settings, settings):
            _log.warning("settings changed that take effect after a restart", settings=changed)
        return True

    def _dump(self) -> None:
        for work in self._on_dump:
            work()

    def _tell_status(self, _request: Request) -> dict[str, Any]:
        return self.status.tell()

    def _tell_stacks(self, _request: Request) -> dict[str, Any]:
        return {"stacks": stacks.collect()}


def restart_needed(before: Settings, now: Settings) -> list[str]:
    """The names of the settings that differ and are read at the start only."""
    now = replace(now, log=replace(now.log, level=before.log.level))
    return [item.name for item in fields(Settings) if getattr(before, item.name) != getattr(now, item.name)]
