"""Changed options of running back ends: they replace the previous ones only after the driver has accepted them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from csi_cinderlib.backend import secret_values
from csi_cinderlib.config import option_paths
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model.records import EMPTY
from csi_cinderlib.observe import logs, redact

STILL_USED = "the previous configuration stays in use"
CHECK_SECONDS = 60.0
"""For one check, which loads the driver and does not contact the storage."""
RECHECK_SECONDS = 60.0
"""Between two checks of the same options: a missing file or library may be added later."""
CHECKS_AT_A_TIME = 8
"""More checks wait for one of these, each of which is a process of about 10 MB."""
PATIENCE = 5.0
"""The longest wait of a look for checks. The next look takes the result of a slower check."""

_log = logs.logger(__name__)


def for_driver(settings: BackendSettings) -> BackendSettings:
    """The settings without the fields of which the driver does not know: a change of these needs no new process.

    A back end that moves between a file and an object with the same options is the same for its driver. Which Secret an option comes from
    does not matter, but a value that is secret for no other reason is hidden only by a process that knows it.
    """
    options = settings.options
    with suppress(ConfigurationError):
        options = option_paths.completed(settings, options)
    hidden = {name: "" for name in settings.origins if not redact.is_secret_key(name)}
    return replace(
        settings,
        options=options,
        origins=hidden,
        directory="",
        topology=EMPTY,
        pools=(),
        paused=False,
        drained=False,
    )


def applied(backend: Backend, settings: BackendSettings) -> bool:
    """Apply what the driver need not know, even if its options are rejected later; returns whether that was all."""
    changed = replace(
        backend.settings,
        topology=settings.topology,
        pools=settings.pools,
        paused=settings.paused,
        drained=settings.drained,
    )
    is_all = for_driver(changed) == for_driver(settings)
    if is_all:
        changed = replace(changed, origins=settings.origins)
    if changed != backend.settings:
        _log.info("back end changed", backend=backend.name)
        backend.apply(changed)
    return is_all


@dataclass(slots=True, eq=False)
class _Check:
    """A check of changed options, in its own thread.

    Attributes:
        is_done: `reason` and `checked_at` are set.
        reason: why the options cannot be used, or "".
    """

    settings: BackendSettings
    backend: RemoteBackend
    is_done: threading.Event = field(default_factory=threading.Event)
    reason: str = ""
    checked_at: float = 0.0

    @property
    def is_old(self) -> bool:
        return self.is_done.is_set() and time.monotonic() - self.checked_at > RECHECK_SECONDS


class Reconfiguration:
    """Not thread-safe, except for `rejected` and `close`.

    Args:
        make: a back end, not started, from its settings.
    """

    def __init__(self, make: Callable[[BackendSettings], RemoteBackend]) -> None:
        self._make = make
        self._checks: dict[str, _Check] = {}
        self._reasons: Mapping[str, str] = {}
        self._slots = threading.BoundedSemaphore(CHECKS_AT_A_TIME)
        self._guard = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Accept nothing more, and end all checks."""
        with self._guard:
            self._is_closed = True
        for check in tuple(self._checks.values()):
            check.backend.stop()

    @property
    def rejected(self) -> Mapping[str, str]:
        """Reasons by the names of the back ends that keep their previous options."""
        return {
            name: f"changed options rejected: {reason}; {STILL_USED}"
            for name, reason in self._reasons.items()
            if reason
        }

    def accepted(self, changed: Iterable[BackendSettings], working: Collection[str]) -> Iterator[BackendSettings]:
        """The back ends whose options may replace the previous ones. A slow check goes on, and delays no other back end.

        Args:
            changed: all new and changed back ends of this look.
            working: names of back ends that have something to lose. The others are accepted without a check.
        """
        changed = list(changed)
        doubtful = {settings.name: settings for settings in changed if settings.name in working}
        self._reasons = {name: reason for name, reason in self._reasons.items() if name in doubtful}
        for name in [name for name, check in self._checks.items() if check.settings != doubtful.get(name)]:
            self._checks.pop(name).backend.stop()
        yield from (settings for settings in changed if settings.name not in doubtful)
        for settings in doubtful.values():
            self._ensure(settings)
        ends = time.monotonic() + PATIENCE
        for name, check in tuple(self._checks.items()):
            if not check.is_done.wait(max(0.0, ends - time.monotonic())) or self._is_closed:
                continue
            self._note(name, check.reason)
            if not check.reason:
                del self._checks[name]
                yield check.settings

    def _ensure(self, settings: BackendSettings) -> None:
        """Begin a check, unless one is in progress or recent."""
        check = self._checks.get(settings.name)
        if check is not None and not check.is_old:
            return
        check = _Check(settings, self._make(settings))
        with self._guard:
            if self._is_closed:
                return
            threading.Thread(target=self._carry_out, args=(check,), name=f"check-{settings.name}", daemon=True).start()
            self._checks[settings.name] = check

    def _carry_out(self, check: _Check) -> None:
        with self._slots:
            check.reason = _problem(check)
        check.checked_at = time.monotonic()
        check.is_done.set()

    def _note(self, name: str, reason: str) -> None:
        if reason and self._reasons.get(name) != reason:
            _log.error("changed options rejected; previous ones stay in use", backend=name, reason=reason)
        self._reasons = {**self._reasons, name: reason}


def _problem(check: _Check) -> str:
    """Why the options cannot be used; "" if they can, or if only the set-up can tell."""
    backend, settings = check.backend, check.settings
    try:
        backend.check_options(CHECK_SECONDS)
    except DriverError as error:  # also for a process that crashes or hangs
        return redact.of_backend(error, secret_values.of_options(settings))
    except Exception as error:  # no process could be forked, for example
        _log.exception("changed options cannot be checked", error, backend=settings.name)
        return f"the options cannot be checked: unexpected {type(error).__name__}; see the controller's log"
    finally:
        backend.stop()
    return ""
