"""Changed options of running back ends: they replace the previous ones only after the driver has accepted them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.observe import logs, redact

STILL_USED = "the previous configuration stays in use"
CHECK_SECONDS = 60.0
"""For one check, which loads the driver and does not contact the storage."""
RECHECK_SECONDS = 60.0
"""Between two checks of the same options: a missing file or library may be added later."""
CHECKS_AT_A_TIME = 4

_log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class _Rejected:
    settings: BackendSettings
    reason: str
    checked_at: float


class Reconfiguration:
    """Not thread-safe, except for `rejected`.

    Args:
        make: a back end, not started, from its settings.
    """

    def __init__(self, make: Callable[[BackendSettings], RemoteBackend]) -> None:
        self._make = make
        self._rejected: Mapping[str, _Rejected] = {}

    @property
    def rejected(self) -> Mapping[str, str]:
        """Reasons by the names of the back ends that keep their previous options."""
        return {name: f"{found.reason}; {STILL_USED}" for name, found in self._rejected.items()}

    def accepted(self, changed: Iterable[BackendSettings], working: Collection[str]) -> list[BackendSettings]:
        """The back ends whose options may replace the previous ones.

        Args:
            changed: all new and changed back ends of this look.
            working: names of back ends that have something to lose. The others are accepted without a check.
        """
        changed = list(changed)
        doubtful = [settings for settings in changed if settings.name in working]
        with ThreadPoolExecutor(CHECKS_AT_A_TIME) as pool:
            found = dict(zip((settings.name for settings in doubtful), pool.map(self._check, doubtful), strict=True))
        self._rejected = {name: rejected for name, rejected in found.items() if rejected is not None}
        return [settings for settings in changed if settings.name not in self._rejected]

    def _check(self, settings: BackendSettings) -> _Rejected | None:
        before = self._rejected.get(settings.name)
        checked_at = before.checked_at if before and before.settings == settings else -math.inf
        if before and time.monotonic() - checked_at < RECHECK_SECONDS:
            return before
        reason = self._problem(settings)
        if not reason:
            return None
        if before is None or before.reason != reason:
            _log.error("changed options rejected; previous ones stay in use", backend=settings.name, reason=reason)
        return _Rejected(settings, reason, time.monotonic())

    def _problem(self, settings: BackendSettings) -> str:
        """Why the options cannot be used; "" if they can, or if only the set-up can tell."""
        backend = self._make(settings)
        try:
            backend.check_options(CHECK_SECONDS)
        except DriverError as error:  # also for a process that crashes or hangs
            return redact.of_backend(error, settings.options)
        except Exception as error:  # no process could be forked, for example
            _log.exception("changed options cannot be checked", error, backend=settings.name)
            return f"the options cannot be checked: unexpected {type(error).__name__}; see the controller's log"
        finally:
            backend.stop()
        return ""
