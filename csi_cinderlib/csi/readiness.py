"""Whether this process can work yet. It answers calls before it can: sidecars give up on what does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_cinderlib.errors import NotReady
from csi_cinderlib.observe import logs

STARTING = "this process is still starting"
Check = Callable[[], str]
"""Why this process can serve nothing any more, although a new one could; "" otherwise. It never waits."""
_log = logs.logger(__name__)


class Readiness:
    """Starting, then ready or failed. Thread-safe."""

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
        """What a caller is told meanwhile; "" when ready."""
        return "" if self.is_ready else self._why

    def ready(self) -> None:
        """All services are there, and calls are carried out."""
        self._ready.set()

    @property
    def stands_by(self) -> bool:
        """Whether it waits for another controller to end, and would go on at once."""
        return self._stands_by and not self.is_ready

    def standby(self, why: str) -> None:
        """All is well, and another controller is the active one."""
        self._why, self._stands_by = why, True

    def starting(self) -> None:
        """It is the active controller, and loads its back ends."""
        self._why, self._stands_by = STARTING, False

    def failed(self, why: str) -> None:
        """The start failed; the process goes on answering, so that `why` is seen where users look: in their claims' events."""
        self._why, self._stands_by = why, False
        self._ready.clear()

    def restrain(self, check: Check) -> None:
        """Do not call this process ready while `check` says why it is of no use yet, although it carries out calls."""
        self._restraints = (*self._restraints, check)

    @property
    def restraint(self) -> str:
        """Why it is of no use yet, although it carries out calls; "" mostly."""
        return _first(self._restraints) if self.is_ready else ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why Probe answers that it is not ready; none when it is."""
        return tuple(filter(None, (self.why_not, self.restraint, self.trouble)))

    def watch(self, check: Check) -> None:
        """Ask this, too, whenever somebody asks for `trouble`."""
        self._checks = (*self._checks, check)

    @property
    def trouble(self) -> str:
        """Why only a restart of this process helps; "" mostly. What one back end does is never a reason."""
        trouble = _first(self._checks)
        if trouble and trouble != self._logged:
            _log.error("this process can serve nothing and has to be restarted", reason=trouble)
        self._logged = trouble
        return trouble

    def check(self) -> None:
        """Raises NotReady."""
        if not self.is_ready:
            raise NotReady(self._why)

    def wait(self, seconds: float) -> bool:
        """Wait until it is ready; whether it is."""
        return self._ready.wait(seconds)


def _first(checks: tuple[Check, ...]) -> str:
    """What the first of them says that says anything. A bug in one must not make Probe an error, of which the sidecars end."""
    for check in checks:
        try:
            if said := check():
                return said
        except Exception as error:
            _log.exception("a check of the readiness failed", error)
    return ""
