"""Changed options of running back ends: they replace the previous ones only after the driver has accepted them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendUnavailable, DriverError
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
    """Not thread-safe, except for `rejected` and `close`.

    Args:
        make: a back end, not started, from its settings.
    """

    def __init__(self, make: Callable[[BackendSettings], RemoteBackend]) -> None:
        self._make = make
        self._rejected: Mapping[str, _Rejected] = {}
        self._is_closed = False

    def close(self) -> None:
        """Accept nothing more, and start no further check."""
        self._is_closed = True

    @property
    def rejected(self) -> Mapping[str, str]:
        """Reasons by the names of the back ends that keep their previous options."""
        return {
            name: f"changed options rejected: {found.reason}; {STILL_USED}" for name, found in self._rejected.items()
        }

    def accepted(self, changed: Iterable[BackendSettings], working: Collection[str]) -> Iterator[BackendSettings]:
        """The back ends whose options may replace the previous ones, each as soon as this is known: a check may take long.

        Args:
            changed: all new and changed back ends of this look.
            working: names of back ends that have something to lose. The others are accepted without a check.
        """
        changed = list(changed)
        doubtful = {settings.name: settings for settings in changed if settings.name in working}
        self._rejected = {name: found for name, found in self._rejected.items() if name in doubtful}
        yield from (settings for settings in changed if settings.name not in doubtful)
        with ThreadPoolExecutor(CHECKS_AT_A_TIME) as pool:
            checks = {pool.submit(self._check, settings): settings for settings in doubtful.values()}
            for check in as_completed(checks):
                settings, found = checks[check], check.result()
                others = {name: other for name, other in self._rejected.items() if name != settings.name}
                self._rejected = others if found is None else {**others, settings.name: found}
                if found is None and not self._is_closed:
                    yield settings

    def _check(self, settings: BackendSettings) -> _Rejected | None:
        before = self._rejected.get(settings.name)
        checked_at = before.checked_at if before and before.settings == settings else -math.inf
        if before and time.monotonic() - checked_at < RECHECK_SECONDS:
            return before
        reason = self._problem(settings)
        if not reason:
            return None
        if not self._is_closed and (before is None or before.reason != reason):
            _log.error("changed options rejected; previous ones stay in use", backend=settings.name, reason=reason)
        return _Rejected(settings, reason, time.monotonic())

    def _problem(self, settings: BackendSettings) -> str:
        """Why the options cannot be used; "" if they can, or if only the set-up can tell."""
        backend = self._make(settings)
        try:
            backend.check_options(CHECK_SECONDS, self._refuse_closed)
        except DriverError as error:  # also for a process that crashes or hangs
            return redact.of_backend(error, settings.options)
        except Exception as error:  # no process could be forked, for example
            _log.exception("changed options cannot be checked", error, backend=settings.name)
            return f"the options cannot be checked: unexpected {type(error).__name__}; see the controller's log"
        finally:
            backend.stop()
        return ""

    def _refuse_closed(self) -> None:
        if self._is_closed:
            raise BackendUnavailable("", "stopped")
