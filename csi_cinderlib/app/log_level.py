"""The log level of a running process, which an administrator can change temporarily."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from csi_cinderlib.app.routes import Request
from csi_cinderlib.config.near import suggestion
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import times
from csi_cinderlib.observe import logs

CONFIGURED = "configured"
"""Stands for the configured level."""
LONGEST_SECONDS = 7 * 24 * 3600.0

_log = logs.logger(__name__)


class LogLevel:
    """The current log level. Thread-safe. `follow` passes it to the drivers' processes."""

    def __init__(self, configured: str) -> None:
        self._configured = configured
        self._guard = threading.Lock()
        self._timer: threading.Timer | None = None
        self._until = ""
        self._followers: tuple[Callable[[str], None], ...] = ()

    def follow(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with each new level."""
        self._followers = (*self._followers, tell)

    def tell(self) -> dict[str, object]:
        """The current level, the configured level, and the end of a temporary level ("": until the next change)."""
        with self._guard:
            return {"level": logs.level(), "configured": self._configured, "until": self._until}

    def configure(self, level: str) -> None:
        """Apply a new level of the configuration at once."""
        with self._guard:
            self._configured = level
            self._change(level, 0.0)

    def set(self, level: str, seconds: float = 0.0) -> None:
        """Set the level for a number of seconds; 0 means until the next change."""
        with self._guard:
            self._change(self._configured if level == CONFIGURED else level, seconds)

    def _change(self, level: str, seconds: float) -> None:
        """Change the level. The caller holds the guard."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._until = None, ""
        if seconds:
            self._until = times.stamp(datetime.fromtimestamp(time.time() + seconds, UTC))
            self._timer = timer = threading.Timer(seconds, lambda: self._return(timer))
            timer.daemon = True
            timer.start()
        if level != (before := logs.level()):
            logs.set_level(
                min(level, before, key=logs.LEVELS.__getitem__)
            )  # so that the following event is logged at either level
            _log.warning("log level changed", was=before, to=level, until=self._until)
        logs.set_level(level)
        for tell in self._followers:
            tell(level)

    def _return(self, timer: threading.Timer) -> None:
        with self._guard:
            if self._timer is timer:
                self._change(self._configured, 0.0)

    def asked(self, _request: Request) -> dict[str, object]:
        """GET /loglevel."""
        return self.tell()

    def put(self, request: Request) -> dict[str, object]:
        """PUT /loglevel with `{"level": LEVEL, "for_seconds": NUMBER}`. Raises InvalidRequest."""
        level, seconds = request.body.get("level"), request.body.get("for_seconds", 0)
        known = (*logs.LEVELS, CONFIGURED)
        if not isinstance(level, str) or level not in known:
            raise InvalidRequest("level", f"unsupported log level {level!r}; {suggestion(str(level), known)}")
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not 0 <= float(str(seconds)) <= LONGEST_SECONDS:
            raise InvalidRequest("for_seconds", f"must be between 0 and {LONGEST_SECONDS:.0f} (got {seconds!r})")
        self.set(level, float(str(seconds)))
        return self.tell()
