"""The controller's half of a process: the store, the back ends, and who decides about volumes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from csi_cinderlib.app.persist import Stopping, persist
from csi_cinderlib.app.stores import open_store
from csi_cinderlib.backend.backend import Backend
from csi_cinderlib.backend.registry import Backends
from csi_cinderlib.backend.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.csi.controller import Controller
from csi_cinderlib.csi.group_controller import GroupController
from csi_cinderlib.csi.server import Service
from csi_cinderlib.errors import ConfigurationError, DriverError
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.orphans import Orphans
from csi_cinderlib.provisioning.owners import LEASE, Owners
from csi_cinderlib.provisioning.snapshots import Snapshots
from csi_cinderlib.provisioning.volumes import Volumes
from csi_cinderlib.sealing import Sealer

if TYPE_CHECKING:
    from csi_cinderlib.observe.metrics import Metrics

SETTLE_SECONDS = 60.0
"""Between two looks for what was left half done."""

SLOW_SECONDS = 5.0
"""For back ends that are slow to start, once another one is ready."""

_log = logs.logger(__name__)


class ControllerSide:
    """See `app.serve.Side`. Each back end starts on its own, so that a broken one holds up nobody."""

    def __init__(self, settings: Settings, stopping: Stopping, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._locks = KeyedLocks()
        self._undo = ExitStack()
        self._first = threading.Event()
        self._all = threading.Event()
        self._owner = f"{socket.gethostname()}:{settings.state_dir}"
        self.backends = Backends()
        self.store: Store
        self.owners: Owners

    def open(self) -> None:
        """Open the store, which may take a while to come up, and then let the back ends start.

        Raises:
            ConfigurationError, StoreUnavailable.
        """
        self.store = open_store(self._settings)
        self._undo.callback(self.store.close)
        self.owners = Owners(self.store, owner=self._owner)
        if self.store.traits.shared:
            self.owners.beat()
            self._undo.callback(self._leave)
        runtime = Runtime(self._settings.state_dir, owner=self._owner)
        self._undo.callback(runtime.close)
        for settings in self._settings.backends:
            self.backends.add(
                Backend(
                    settings,
                    store=self.store,
                    runtime=runtime,
                    volume_types=self._settings.volume_types,
                    owner=self._owner,
                    is_alive=self.owners.alive,
                    meter=self._metrics,
                )
            )
        self._start_backends()

    def services(self) -> tuple[Service, ...]:
        settings, common = self._settings, (self.store, self.backends, self._locks)
        controller = Controller(
            Volumes(*common, volume_types=settings.volume_types, page_limit=settings.page_limit),
            Snapshots(*common, page_limit=settings.page_limit),
            Attachments(*common, sealer=Sealer(settings.sealing_keys), max_per_node=settings.max_volumes_per_node),
            topologies={backend.name: backend.topology for backend in settings.backends},
        )
        return (controller, GroupController(Groups(*common)))

    def wait(self) -> None:
        """Until every back end is ready or has failed once; but one that is ready need not wait long for the slow ones."""
        self._first.wait()
        self._all.wait(SLOW_SECONDS)

    def close(self) -> None:
        for backend in self.backends.all():
            backend.stop()
        self._undo.close()

    def _start_backends(self) -> None:
        self._untried = {backend.name for backend in self.backends.all()}
        self._wrong: list[ConfigurationError] = []
        self._guard = threading.Lock()
        for backend in self.backends.all():
            threading.Thread(target=self._start, args=(backend,), name=f"start-{backend.name}", daemon=True).start()
        self._every(SETTLE_SECONDS, "orphans", self._settle)
        if self._metrics is not None:
            from csi_cinderlib.app import figures

            orphans = Orphans(self.store, self.backends, self._locks)
            update = figures.Figures(self._metrics, self.store, self.backends, orphans).update
            self._every(figures.SECONDS, "figures", update, first=figures.FIRST_SECONDS)
        if self.store.traits.shared:
            self._every(LEASE / 3, "beat", self.owners.beat)

    def _start(self, backend: Backend) -> None:
        try:
            if persist(
                backend.start,
                self._stopping,
                f"back end {backend.name} is not ready",
                failed=lambda _why: self._tried(backend),
            ):
                _log.info("back end ready", backend=backend.name)
                self._first.set()
                self._tried(backend)
        except ConfigurationError as error:
            _log.error("back end cannot work like this", backend=backend.name, reason=str(error))
            self._wrong.append(error)
            if len(self._wrong) == len(self.backends.all()):
                self._stopping.failed(error)
            self._tried(backend)
        except Exception as error:  # a driver's bug must not take the other back ends along
            _log.exception("back end cannot start", error, backend=backend.name)
            self._tried(backend)

    def _tried(self, backend: Backend) -> None:
        """It is ready, or has failed at least once."""
        with self._guard:
            self._untried.discard(backend.name)
            if not self._untried:
                self._all.set()
                self._first.set()

    def _every(self, seconds: float, name: str, work: Callable[[], object], *, first: float | None = None) -> None:
        def run() -> None:
            pause = seconds if first is None else first
            while not self._stopping.wait(pause):
                pause = seconds
                try:
                    work()
                except DriverError as error:
                    _log.warning(f"{name} failed", reason=str(error))

        threading.Thread(target=run, name=name, daemon=True).start()

    def _settle(self) -> None:
        orphans = Orphans(self.store, self.backends, self._locks)
        for settled in orphans.settle():
            _log.info("orphan settled", kind=settled.orphan.kind, id=settled.orphan.id, error=settled.error)

    def _leave(self) -> None:
        with suppress(DriverError):
            self.owners.leave()
