"""The back ends of a controller. Each starts in its own thread; they can be added, changed or removed at runtime."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from csi_cinderlib.app.observations import Seen
from csi_cinderlib.app.reconfiguration import Reconfiguration, applied, for_driver
from csi_cinderlib.app.sources import Sources
from csi_cinderlib.app.stopping import RETRY_SECONDS, Stopping, retry
from csi_cinderlib.backend import secret_values
from csi_cinderlib.backend.line import Cause
from csi_cinderlib.backend.stats import Pool
from csi_cinderlib.config.near import suggestion
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import BackendUnavailable, ConfigurationError, DriverError, NotFound
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model import times
from csi_cinderlib.observe import logs, redact

SLOW_SECONDS = 5.0
"""Time to wait for slow back ends after another one is ready."""

STOP_LOOK_SECONDS = 0.5
"""Interval between two looks whether the process stops, while no back end is ready."""

LASTING_SECONDS = 60.0
"""A driver's process that ran for this time is restarted at once. Otherwise the delay grows with each restart."""

LONGEST_REASON = 300
"""Maximum length of the reason of a back end within the reason of the process."""

_log = logs.logger(__name__)


def unmeasured(_name: str, _reason: str) -> None:
    """Used if metrics are disabled."""


def unnoticed() -> None:
    """Used if nothing depends on changes."""


@dataclass(slots=True)
class _Kept:
    """A back end that a thread keeps running.

    Attributes:
        hurry: start the next attempt now.
        is_tried: an attempt to start it has ended, so that the driver has checked its configuration, if it could be reached.
        has_worked: its configuration was valid once.
        is_over: it was replaced or removed, or the process stops.
    """

    backend: RemoteBackend
    hurry: threading.Event = field(default_factory=threading.Event)
    is_tried: bool = False
    has_worked: bool = False
    is_over: bool = False

    def end(self) -> None:
        self.is_over = True
        self.hurry.set()


@dataclass(slots=True)
class _History:
    """History of a back end name since the start of this process.

    Attributes:
        restarts: restarts of its driver's process.
        last_error: last error, without secrets.
        last_error_at: its time, in the format of records.
    """

    restarts: int = 0
    last_error: str = ""
    last_error_at: str = ""

    def failed(self, error: str) -> None:
        self.last_error, self.last_error_at = redact.text(error), times.stamp(times.utc_now())


class RunningBackends:
    """Keeps the registry in line with the configured back ends. A failing back end does not delay the others.

    Args:
        sources: where back ends are configured; None is the settings and their directory.
        changed: called after a back end became ready, failed or was reconfigured.
        make: creates a back end from its settings without starting it.
        restarted: called at each restart of a driver's process, with the back end and one of `metrics.RESTARTS`.
    """

    def __init__(
        self,
        settings: Settings,
        stopping: Stopping,
        registry: Backends,
        make: Callable[[BackendSettings], RemoteBackend],
        *,
        restarted: Callable[[str, str], None] = unmeasured,
        sources: Sources | None = None,
        changed: Callable[[], None] = unnoticed,
    ) -> None:
        self.sources = sources or Sources(settings)
        self._changed = changed
        self._stopping = stopping
        self._registry = registry
        self._make = make
        self._measure_restart = restarted
        self._histories: defaultdict[str, _History] = defaultdict(_History)
        self._usable = threading.Event()
        self._kept: dict[str, _Kept] = {}
        self._untried: set[str] = set()
        self._wrong: dict[str, ConfigurationError] = {}
        self._reconfiguration = Reconfiguration(make)
        self._is_closed = False
        self._guard = threading.Lock()
        self._refreshing = threading.Lock()
        self._first = threading.Event()
        self._all = threading.Event()

    def start(self) -> None:
        with self._refreshing:  # SIGHUP may arrive at any time
            configured = self.sources.read()
            self._untried = {backend.name for backend in configured.backends}
            for backend in configured.backends:
                self._begin(backend)
        if not configured.backends:  # none yet: the directory may be filled later
            self._first.set()
            self._all.set()

    def refresh(self) -> None:
        """Apply changes of the configuration. Unchanged back ends, and those whose new options are rejected, are not affected."""
        if self.sources.can_change:
            with self._refreshing:
                self._refresh()

    def _refresh(self) -> None:
        configured = self.sources.read()
        wanted = {backend.name: backend for backend in configured.backends}
        for known in self._registry.all():
            if known.name in wanted:
                if applied(known, wanted[known.name]):
                    del wanted[known.name]
            elif not configured.keeps(known.name):
                _log.info("back end removed", backend=known.name)
                self._kept.pop(known.name).end()
                self._registry.remove(known.name)
        working = {name for name, kept in self._kept.items() if kept.has_worked}
        for backend in self._reconfiguration.accepted(wanted.values(), working):
            _log.info("back end added or changed", backend=backend.name)
            if backend.name in self._kept:
                self._restarted(backend.name, "reconfigured")
            self._begin(backend)

    def restart(self, name: str) -> int:
        """Kill the driver's process of a back end at once and start a new one.

        Returns:
            the id of the killed process; 0 if none was running.

        Raises:
            NotFound: no back end has that name.
        """
        if (kept := self._kept.get(name)) is None:
            hint = suggestion(name, self._kept, label="configured")
            raise NotFound("back end", name, f"does not exist{'; ' if hint else ''}{hint}")
        _log.warning("back end restart requested", backend=name)
        pid = kept.backend.pid
        kept.backend.kill(Cause.REQUESTED)
        kept.hurry.set()
        return pid

    def _restarted(self, name: str, reason: str) -> None:
        self._histories[name].restarts += 1
        self._measure_restart(name, reason)

    def log_from(self, level: str) -> None:
        """Set the log level of the drivers' processes."""
        for kept in self._kept.copy().values():
            kept.backend.log_from(level)

    def log_stacks(self) -> None:
        """Make the drivers' processes log the stacks of their threads."""
        for kept in self._kept.copy().values():
            kept.backend.log_stacks()

    def tell(self, seen: Seen) -> dict[str, object]:
        """The state of a back end for the administration socket."""
        kept, history = self._kept.get(seen.name), self._histories.get(seen.name, _History())
        return {
            "name": seen.name,
            "driver": seen.driver,
            "state": "ready" if seen.ready else "starting" if seen.starting else "not ready",
            "reason": seen.reason,
            "protocol": seen.stats.protocol if seen.stats else "",
            "pools": [_pool(pool) for pool in seen.stats.pools] if seen.stats else [],
            "pid": kept.backend.pid if kept else 0,
            **asdict(history),
        }

    def unusable(self) -> str:
        """Why no back end is usable, or "". It is "" once a back end was usable, and while none is configured."""
        if self._usable.is_set():
            return ""
        reasons = {backend.name: backend.failure or "is starting" for backend in self._registry.all()}
        reasons |= self.unreadable()
        if not reasons:  # none yet: an installer waits for the driver to be ready before it adds back ends
            return ""
        return "no back end is usable: " + "; ".join(
            f"{name}: {redact.text(reason)[:LONGEST_REASON]}" for name, reason in reasons.items()
        )

    def unreadable(self) -> Mapping[str, str]:
        """Why configuration cannot be used, by the back ends that keep their previous configuration, otherwise by file name."""
        reasons = dict(self._reconfiguration.rejected)
        for name, reason in self.sources.unreadable().items():
            reasons[name] = "; ".join([*filter(None, [reasons.get(name)]), reason])
        return {
            name: self.sources.explained(name, "; ".join(reason.splitlines())) for name, reason in reasons.items()
        }  # a table has a line for each

    @property
    def rejected(self) -> Mapping[str, str]:
        """Why changed options of running back ends are not in use, by name."""
        return self._reconfiguration.rejected

    @property
    def wrong(self) -> Mapping[str, ConfigurationError]:
        """Why the first options of back ends are not in use, by name."""
        with self._guard:
            return dict(self._wrong)

    def settings(self, name: str) -> BackendSettings | None:
        """The settings of a running back end."""
        kept = self._kept.get(name)
        return kept.backend.settings if kept is not None else None

    def is_busy(self, name: str) -> bool:
        """Whether a back end is provisioning."""
        return self._registry.intake(name).is_busy

    def uses(self, settings: BackendSettings) -> bool:
        """Whether a back end runs with these options, or has tried to."""
        kept = self._kept.get(settings.name)
        return kept is not None and kept.is_tried and for_driver(kept.backend.settings) == for_driver(settings)

    def wait(self) -> None:
        """Wait until every back end is ready or has failed once, but only briefly for slow ones after the first is ready.

        Ends when the process stops, which a set-up that hangs must not delay.
        """
        while not self._first.wait(STOP_LOOK_SECONDS):
            if self._stopping.wait(0):
                return
        self._all.wait(SLOW_SECONDS)

    def close(self) -> None:
        """End all drivers' processes, and start no others; running calls are abandoned."""
        self._reconfiguration.close()
        with self._guard:
            self._is_closed = True
            all_kept = tuple(self._kept.values())
        for kept in all_kept:
            kept.end()
            kept.backend.stop()
            kept.backend.kill()

    def _begin(self, settings: BackendSettings) -> None:
        kept = _Kept(self._make(settings))
        with self._guard:
            if self._is_closed:  # during a refresh
                return
            old, self._kept[settings.name] = self._kept.get(settings.name), kept
        if old is not None:
            old.end()
        self._is_not_wrong(kept)
        self._registry.add(kept.backend)
        threading.Thread(target=self._start, args=(kept,), name=f"start-{settings.name}", daemon=True).start()

    def _start(self, kept: _Kept) -> None:
        with redact.hiding(secret_values.of(kept.backend.settings)):
            self._keep(kept)
        self._tried(kept.backend)

    def _keep(self, kept: _Kept) -> None:
        """Keep the back end running, and restart its process if it ends, until it is stopped."""
        backend, waits = kept.backend, iter((0.0, *RETRY_SECONDS))
        while self._retry(kept):
            began = time.monotonic()
            if not (how := backend.wait_until_ended()):
                return
            if time.monotonic() - began > LASTING_SECONDS:
                waits = iter((0.0, *RETRY_SECONDS))
            seconds = next(waits, RETRY_SECONDS[-1])
            _log.error("driver process ended", backend=backend.name, reason=how, next_attempt_in_seconds=seconds)
            self._histories[backend.name].failed(how)
            self._restarted(backend.name, backend.last_cause)
            if self._wait(kept, seconds):
                return

    def _wait(self, kept: _Kept, seconds: float) -> bool:
        """Wait for the next attempt; returns whether to give up."""
        kept.hurry.wait(seconds)
        kept.hurry.clear()
        return kept.is_over or self._stopping.wait(0)

    def _retry(self, kept: _Kept) -> bool:
        """Retry the start until it succeeds; False if the back end is no longer needed."""
        backend = kept.backend
        started = retry(
            lambda: self._attempt(kept),
            self._stopping,
            "back end not ready",
            failed=lambda _why: self._tried(backend),
            wait=lambda seconds: self._wait(kept, seconds),
            backend=backend.name,
        )
        if not started or kept.is_over:
            return False
        _log.info("back end ready", backend=backend.name)
        kept.has_worked = True
        self._usable.set()
        self._first.set()
        self._tried(backend)
        return True

    def _attempt(self, kept: _Kept) -> None:
        """A rejected configuration is retried, too: a missing file or library may appear later."""
        if kept.is_over:
            return
        try:
            _start(kept.backend)
        except DriverError as error:
            self._histories[kept.backend.name].failed(str(error))
            if isinstance(error, ConfigurationError):
                self._is_wrong(kept, error)
                raise BackendUnavailable(kept.backend.name, str(error)) from error
            self._is_not_wrong(kept)
            raise
        else:
            self._is_not_wrong(kept)
        finally:
            kept.is_tried = True

    def _is_wrong(self, kept: _Kept, error: ConfigurationError) -> None:
        """End the process if no back end ever worked and the configuration cannot change at runtime."""
        if kept.has_worked:
            return
        name = kept.backend.name
        with self._guard:
            is_news = name not in self._wrong
            self._wrong[name] = error
            hopeless = len(self._wrong) == len(self._registry.all())
        if is_news:
            _log.error("back end configuration invalid", backend=name, reason=str(error))
        if hopeless and not self.sources.can_change:
            self._stopping.failed(error)

    def _is_not_wrong(self, kept: _Kept) -> None:
        with self._guard:
            self._wrong.pop(kept.backend.name, None)

    def _tried(self, backend: RemoteBackend) -> None:
        """Record that it is ready or has failed at least once."""
        with self._guard:
            self._untried.discard(backend.name)
            if not self._untried:
                self._all.set()
                self._first.set()
        self._changed()


def _start(backend: RemoteBackend) -> None:
    """An unexpected error is retried, too: it may be a temporary lack of threads or memory."""
    try:
        backend.start()
    except DriverError:
        raise
    except Exception as error:
        _log.exception("back end start failed", error, backend=backend.name)
        backend.failure = f"unexpected {type(error).__name__}; see the log of the controller"
        raise BackendUnavailable(backend.name, backend.failure) from error


def _pool(pool: Pool) -> dict[str, object]:
    """The sizes of a pool in GiB; None if unlimited or unknown."""
    figures = {"total_gib": pool.total, "free_gib": pool.free}
    known = {name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()}
    return {"name": pool.name, **known}
