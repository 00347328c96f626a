"""The back ends of a controller: each starts in a thread of its own, and may come, change or go while the process runs."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from csi_cinderlib.app.observations import Seen
from csi_cinderlib.app.reconfiguration import STILL_USED, Reconfiguration
from csi_cinderlib.app.stopping import RETRY_SECONDS, Stopping, retry
from csi_cinderlib.backend import secret_values
from csi_cinderlib.backend.line import Cause
from csi_cinderlib.backend.stats import Pool
from csi_cinderlib.config import live
from csi_cinderlib.config.near import suggestion
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import BackendUnavailable, ConfigurationError, DriverError, NotFound
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model import times
from csi_cinderlib.observe import logs, redact

SLOW_SECONDS = 5.0
"""For back ends that are slow to start, once another one is ready."""

LASTING_SECONDS = 60.0
"""A driver's process that lived so long is started again at once; others wait a little longer each time."""

LONGEST_REASON = 300
"""Characters of each back end's reason in the one of the whole process."""

_log = logs.logger(__name__)


def unmeasured(_name: str, _reason: str) -> None:
    """No figure is wanted."""


@dataclass(slots=True)
class _Kept:
    """A back end that a thread keeps running.

    Attributes:
        hurry: the next attempt is to be made now.
        has_worked: its configuration was right once.
        is_over: it was replaced or removed, or all are.
    """

    backend: RemoteBackend
    hurry: threading.Event = field(default_factory=threading.Event)
    has_worked: bool = False
    is_over: bool = False

    def end(self) -> None:
        self.is_over = True
        self.hurry.set()


@dataclass(slots=True)
class _History:
    """What happened to the back end of a name since this process started.

    Attributes:
        restarts: starts of its driver's process after the first one.
        last_error: without secrets.
        last_error_at: as records keep times.
    """

    restarts: int = 0
    last_error: str = ""
    last_error_at: str = ""

    def failed(self, error: str) -> None:
        self.last_error, self.last_error_at = redact.text(error), times.stamp(times.utc_now())


class RunningBackends:
    """Keeps the registry as the settings and the directory of back ends say. A broken back end holds up nobody.

    Args:
        make: a back end, not started, of its settings.
        restarted: told the name of each back end whose driver's process is started again, and why: one of `metrics.RESTARTS`.
    """

    def __init__(
        self,
        settings: Settings,
        stopping: Stopping,
        registry: Backends,
        make: Callable[[BackendSettings], RemoteBackend],
        *,
        restarted: Callable[[str, str], None] = unmeasured,
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._registry = registry
        self._make = make
        self._measure_restart = restarted
        self._histories: defaultdict[str, _History] = defaultdict(_History)
        self._usable = threading.Event()
        self._kept: dict[str, _Kept] = {}
        self._untried: set[str] = set()
        self._wrong: dict[str, ConfigurationError] = {}
        self._files: dict[str, Path] = {}
        self._unreadable: Mapping[Path, ConfigurationError] = {}
        self._ignored: Collection[Path] = ()
        self._reconfiguration = Reconfiguration(make)
        self._guard = threading.Lock()
        self._refreshing = threading.Lock()
        self._first = threading.Event()
        self._all = threading.Event()

    def start(self) -> None:
        configured = self._read()
        self._untried = {backend.name for backend in configured.backends}
        for backend in configured.backends:
            self._begin(backend)
        if not configured.backends:  # none yet: the directory may get some
            self._first.set()
            self._all.set()

    def refresh(self) -> None:
        """Apply the changes of the directory. Unchanged back ends are left alone, and so is one whose new options are rejected."""
        if self._settings.backends_directory:
            with self._refreshing:  # SIGHUP may come at any time
                self._refresh()

    def _refresh(self) -> None:
        configured = self._read()
        wanted = {backend.name: backend for backend in configured.backends}
        for known in self._registry.all():
            if known.name not in wanted and not configured.broken:
                _log.info("back end removed", backend=known.name)
                self._kept.pop(known.name).end()
                self._registry.remove(known.name)
            elif known.name in wanted and wanted[known.name] == known.settings:
                del wanted[known.name]
        working = {name for name, kept in self._kept.items() if kept.has_worked}
        for backend in self._reconfiguration.accepted(wanted.values(), working):
            _log.info("back end is new or changed", backend=backend.name)
            if backend.name in self._kept:
                self._restarted(backend.name, "reconfigured")
            self._begin(backend)

    def restart(self, name: str) -> int:
        """End the driver's process of a back end at once, whatever it does; the next one starts.

        Returns:
            the process that was ended; 0 if there was none.

        Raises:
            NotFound: there is no back end of that name.
        """
        if (kept := self._kept.get(name)) is None:
            hint = suggestion(name, self._kept, label="known")
            raise NotFound("back end", name, f"does not exist{'; ' if hint else ''}{hint}")
        _log.warning("back end is restarted as requested", backend=name)
        pid = kept.backend.pid
        kept.backend.kill(Cause.REQUESTED)
        kept.hurry.set()
        return pid

    def _restarted(self, name: str, reason: str) -> None:
        self._histories[name].restarts += 1
        self._measure_restart(name, reason)

    def log_from(self, level: str) -> None:
        """Let the drivers' processes log from that level on."""
        for kept in self._kept.copy().values():
            kept.backend.log_from(level)

    def log_stacks(self) -> None:
        """Let the drivers' processes log what their threads do."""
        for kept in self._kept.copy().values():
            kept.backend.log_stacks()

    def tell(self, seen: Seen) -> dict[str, object]:
        """One back end, for the administration socket."""
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
        """Why no back end can be used, until one could be used for the first time; "" from then on, and while none is configured."""
        if self._usable.is_set():
            return ""
        reasons = {backend.name: backend.failure or "is starting" for backend in self._registry.all()}
        reasons |= self.unreadable()
        if not reasons:  # none yet: whoever installs the driver first waits for it to be ready
            return ""
        return "no back end is usable: " + "; ".join(
            f"{name}: {redact.text(reason)[:LONGEST_REASON]}" for name, reason in reasons.items()
        )

    def unreadable(self) -> Mapping[str, str]:
        """Why configuration cannot be used, by the names of the back ends that keep their previous one, otherwise by the file's name."""
        reasons = dict(self._reconfiguration.rejected)
        for path, error in self._unreadable.items():
            names = [name for name, file in self._files.items() if file == path]
            kept = f"; {STILL_USED}" if names else ""
            reasons |= dict.fromkeys(names or [path.stem], f"{redact.text(str(error))}{kept}")
        return reasons

    def wait(self) -> None:
        """Until every back end is ready or has failed once; but one that is ready need not wait long for the slow ones."""
        self._first.wait()
        self._all.wait(SLOW_SECONDS)

    def close(self) -> None:
        """End all of their processes; calls that still run are left."""
        for kept in self._kept.values():
            kept.end()
            kept.backend.stop()
            kept.backend.kill()

    def _begin(self, settings: BackendSettings) -> None:
        if (old := self._kept.get(settings.name)) is not None:
            old.end()
        kept = self._kept[settings.name] = _Kept(self._make(settings))
        self._is_not_wrong(kept)
        self._registry.add(kept.backend)
        threading.Thread(target=self._start, args=(kept,), name=f"start-{settings.name}", daemon=True).start()

    def _start(self, kept: _Kept) -> None:
        with redact.hiding(secret_values.of(kept.backend.settings)):
            self._keep(kept)
        self._tried(kept.backend)

    def _keep(self, kept: _Kept) -> None:
        """Keep it running, also when its process ends, until it is stopped."""
        backend, waits = kept.backend, iter((0.0, *RETRY_SECONDS))
        while self._retry(kept):
            began = time.monotonic()
            if not (how := backend.wait_until_ended()):
                return
            if time.monotonic() - began > LASTING_SECONDS:
                waits = iter((0.0, *RETRY_SECONDS))
            seconds = next(waits, RETRY_SECONDS[-1])
            _log.error("back end is started again", backend=backend.name, reason=how, next_attempt_in_seconds=seconds)
            self._histories[backend.name].failed(how)
            self._restarted(backend.name, backend.last_cause)
            if self._wait(kept, seconds):
                return

    def _wait(self, kept: _Kept, seconds: float) -> bool:
        """Wait for the next attempt; whether there is to be none."""
        kept.hurry.wait(seconds)
        kept.hurry.clear()
        return kept.is_over or self._stopping.wait(0)

    def _retry(self, kept: _Kept) -> bool:
        """Start it until that succeeds; False when it is not wanted any more."""
        backend = kept.backend
        event = f"back end {backend.name} is not ready"
        started = retry(
            lambda: self._attempt(kept),
            self._stopping,
            event,
            failed=lambda _why: self._tried(backend),
            wait=lambda seconds: self._wait(kept, seconds),
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
        """A configuration that is refused is tried again as well: a file or a library may be there later."""
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
        self._is_not_wrong(kept)

    def _is_wrong(self, kept: _Kept, error: ConfigurationError) -> None:
        """With nothing that ever worked, and nobody who could change it while this runs, the process had better end."""
        if kept.has_worked:
            return
        name = kept.backend.name
        with self._guard:
            is_news = name not in self._wrong
            self._wrong[name] = error
            hopeless = len(self._wrong) == len(self._registry.all())
        if is_news:
            _log.error("back end cannot work like this", backend=name, reason=str(error))
        if hopeless and not self._settings.backends_directory:
            self._stopping.failed(error)

    def _is_not_wrong(self, kept: _Kept) -> None:
        with self._guard:
            self._wrong.pop(kept.backend.name, None)

    def _tried(self, backend: RemoteBackend) -> None:
        """It is ready, or has failed at least once."""
        with self._guard:
            self._untried.discard(backend.name)
            if not self._untried:
                self._all.set()
                self._first.set()

    def _read(self) -> live.Found:
        """What is configured now. Each trouble is told once, not at every look."""
        found = live.backends(self._settings)
        before = set(map(str, self._unreadable.values()))
        for reason in sorted(set(map(str, found.broken)) - before):
            _log.error("back ends cannot be read; previous ones stay in use", reason=reason)
        for path in set(found.ignored) - set(self._ignored):
            _log.warning("ignored: files of back ends are named *.yaml, *.yml or *.json", path=str(path))
        self._ignored = found.ignored
        unread = {name: file for name, file in self._files.items() if {file, file.parent} & found.unreadable.keys()}
        self._files = {**unread, **found.files}
        self._unreadable = found.unreadable
        return found


def _start(backend: RemoteBackend) -> None:
    """What nobody foresaw is tried again as well: it may be a want of threads or memory that passes."""
    try:
        backend.start()
    except DriverError:
        raise
    except Exception as error:
        _log.exception("back end cannot start", error, backend=backend.name)
        backend.failure = f"unexpected {type(error).__name__}: the controller's log tells more"
        raise BackendUnavailable(backend.name, backend.failure) from error


def _pool(pool: Pool) -> dict[str, object]:
    """GiB; None for what is not limited, or not known."""
    figures = {"total_gib": pool.total, "free_gib": pool.free}
    known = {name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()}
    return {"name": pool.name, **known}
