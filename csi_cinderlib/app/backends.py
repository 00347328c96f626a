"""The back ends of a controller: each starts in a thread of its own, and may come, change or go while the process runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from csi_cinderlib.app import restarts
from csi_cinderlib.app.persist import RETRY_SECONDS, Stopping, persist
from csi_cinderlib.backend.registry import Backends
from csi_cinderlib.config import live
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.errors import BackendUnavailable, ConfigurationError, DriverError, NotFound
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.observe import logs, redact

SLOW_SECONDS = 5.0
"""For back ends that are slow to start, once another one is ready."""

LASTING_SECONDS = 60.0
"""A driver's process that lived so long is started again at once; others wait a little longer each time."""

_log = logs.logger(__name__)


class RunningBackends:
    """Keeps the registry as the settings and the directory of back ends say. A broken back end holds up nobody.

    Args:
        make: a back end, not started, of its settings.
    """

    def __init__(
        self,
        settings: Settings,
        stopping: Stopping,
        registry: Backends,
        make: Callable[[BackendSettings], RemoteBackend],
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._registry = registry
        self._make = make
        self._latest: dict[str, RemoteBackend] = {}
        self._keepers: dict[str, threading.Thread] = {}
        self._untried: set[str] = set()
        self._wrong: dict[str, ConfigurationError] = {}
        self._files: dict[str, Path] = {}
        self._unreadable: Mapping[Path, ConfigurationError] = {}
        self._guard = threading.Lock()
        self._first = threading.Event()
        self._all = threading.Event()

    def start(self) -> None:
        found = self._read()
        self._untried = {one.name for one in found.backends}
        for one in found.backends:
            self._begin(one)
        if not found.backends:  # none yet: the directory may get some
            self._first.set()
            self._all.set()

    def refresh(self) -> None:
        """Take over what the directory holds now; what did not change goes on undisturbed."""
        if not self._settings.backends_directory:
            return
        found = self._read()
        wanted = {one.name: one for one in found.backends}
        for known in self._registry.all():
            if known.name not in wanted and not found.broken:
                _log.info("back end removed", backend=known.name)
                self._registry.remove(known.name)
                self._latest.pop(known.name, None)
            elif known.name in wanted and wanted[known.name] == known.settings:
                del wanted[known.name]
        for one in wanted.values():
            _log.info("back end is new or changed", backend=one.name)
            self._begin(one)

    def obey(self) -> None:
        """Restart the back ends that an administrator asks for."""
        directory = self._settings.state_dir
        for name in restarts.requested(directory):
            if (backend := self._latest.get(name)) is None:
                restarts.answer(directory, name, NotFound("back end", name))
                continue
            _log.warning("back end is restarted as requested", backend=name)
            backend.kill()
            if not self._keepers[name].is_alive():  # its configuration was wrong, as far as its driver could tell
                self._start_keeper(backend)
            restarts.answer(directory, name)

    def unreadable(self) -> Mapping[str, str]:
        """Why configuration cannot be read: by the names of the back ends that go on with what it said before, else by the file's."""
        reasons: dict[str, str] = {}
        for path, error in self._unreadable.items():
            names = [name for name, file in self._files.items() if file == path]
            instead = "; what it said before is used" if names else ""
            reasons |= dict.fromkeys(names or [path.stem], f"{redact.text(str(error))}{instead}")
        return reasons

    def wait(self) -> None:
        """Until every back end is ready or has failed once; but one that is ready need not wait long for the slow ones."""
        self._first.wait()
        self._all.wait(SLOW_SECONDS)

    def close(self) -> None:
        """End all of their processes; calls that still run are left."""
        for backend in self._latest.values():
            backend.stop()
            backend.kill()

    def _begin(self, settings: BackendSettings) -> None:
        backend = self._latest[settings.name] = self._make(settings)
        self._registry.add(backend)
        self._start_keeper(backend)

    def _start_keeper(self, backend: RemoteBackend) -> None:
        with self._guard:
            self._wrong.pop(backend.name, None)
        keeper = threading.Thread(target=self._start, args=(backend,), name=f"start-{backend.name}", daemon=True)
        self._keepers[backend.name] = keeper
        keeper.start()

    def _start(self, backend: RemoteBackend) -> None:
        with redact.hiding(redact.secrets_in(backend.settings.options)):
            try:
                self._keep(backend)
            except ConfigurationError as error:
                _log.error("back end cannot work like this", backend=backend.name, reason=str(error))
                self._is_wrong(backend, error)
        self._tried(backend)

    def _keep(self, backend: RemoteBackend) -> None:
        """Keep it running, also when its process ends, until it is stopped."""
        waits = iter((0.0, *RETRY_SECONDS))
        while True:
            self._persist(backend)
            began = time.monotonic()
            if not (how := backend.wait_until_ended()):
                return
            if time.monotonic() - began > LASTING_SECONDS:
                waits = iter((0.0, *RETRY_SECONDS))
            seconds = next(waits, RETRY_SECONDS[-1])
            _log.error("back end is started again", backend=backend.name, reason=how, next_attempt_in_seconds=seconds)
            if self._stopping.wait(seconds):
                return

    def _persist(self, backend: RemoteBackend) -> None:
        def attempt() -> None:
            if backend in self._registry.all():  # it may have been replaced meanwhile
                _start(backend)

        event = f"back end {backend.name} is not ready"
        if persist(attempt, self._stopping, event, failed=lambda _why: self._tried(backend)):
            _log.info("back end ready", backend=backend.name)
            self._first.set()
            self._tried(backend)

    def _is_wrong(self, backend: RemoteBackend, error: ConfigurationError) -> None:
        """With nothing that can work, and nobody who could change it while this runs, the process had better end."""
        with self._guard:
            self._wrong[backend.name] = error
            hopeless = len(self._wrong) == len(self._registry.all())
        if hopeless and not self._settings.backends_directory:
            self._stopping.failed(error)

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
            _log.error("back ends cannot be read; those of before go on", reason=reason)
        self._files |= found.files
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
