"""The controller part of a process: store, back ends and Controller services."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from csi_cinderlib.app import leadership, observations, resealing
from csi_cinderlib.app.backends import RunningBackends, unmeasured, unnoticed
from csi_cinderlib.app.console import Console
from csi_cinderlib.app.import_routes import ImportRoutes
from csi_cinderlib.app.keys import Keys
from csi_cinderlib.app.record_routes import RecordRoutes
from csi_cinderlib.app.routes import Request
from csi_cinderlib.app.stopping import every
from csi_cinderlib.app.stores import KUBERNETES, node_registry, open_store
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.concurrency import Gate, KeyedLocks
from csi_cinderlib.config.settings import BackendSettings, LogSettings, Settings
from csi_cinderlib.csi.controller import Controller
from csi_cinderlib.csi.group_controller import GroupController
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Service
from csi_cinderlib.errors import DriverError, NotFound, NotReady
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.model.ids import Namespace
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.lease import LeasedStore
from csi_cinderlib.provisioning import contexts, installation, registrations
from csi_cinderlib.provisioning.attachments import Attachments
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.heartbeats import Owners
from csi_cinderlib.provisioning.imports import Importing
from csi_cinderlib.provisioning.orphans import Orphans
from csi_cinderlib.provisioning.registrations import Registrations
from csi_cinderlib.provisioning.snapshots import Snapshots
from csi_cinderlib.provisioning.volumes import Volumes

if TYPE_CHECKING:
    from csi_cinderlib.app.cluster_backends import ClusterBackends
    from csi_cinderlib.observe.metrics import Metrics
    from csi_cinderlib.persistence.kubernetes.rest import Access, Client

SETTLE_SECONDS = 60.0
"""Interval between two searches for orphans."""
FIRST_SETTLE_SECONDS = 5.0
"""Delay after a start, which may follow a kill."""

SIGN_SECONDS = 5.0
"""Interval between two checks whether a heartbeat is due or the sealing key has changed."""
REFRESH_SECONDS = 5.0
"""Interval between two scans of the directory of back ends. The kubelet takes up to a minute to update a Secret."""

SETTLED_SECONDS = 2.0
"""Time for the work on orphans to end after the drivers' processes have ended."""

STACKS_SECONDS = 5.0
"""Time for a driver's process to return the stacks of its threads."""

FORKLESS_SECONDS = 30.0
"""After this time, a failure to start drivers' processes no longer counts as a temporary lack of memory or processes."""

_log = logs.logger(__name__)


class ControllerSide:
    """See `app.serve.Side`."""

    def __init__(
        self,
        settings: Settings,
        console: Console,
        keys: Keys,
        readiness: Readiness,
        metrics: Metrics | None = None,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._readiness = readiness
        self._metrics = metrics
        self._stopping = console.stopping
        self._locks = KeyedLocks()
        self._undo = ExitStack()
        self._owner = f"{socket.gethostname()}:{settings.state_dir}"
        self.backends = Backends()
        self._bulkhead = Bulkhead(settings.workers, lambda: len(self.backends.all()))
        self.store: Store
        self.owners: Owners
        self._leadership: leadership.Leadership | None = None
        self._settling = threading.Lock()
        self._working = Gate()
        """Imports are at work in it: several at once, since one back end may be slow."""
        self._nodes: Store | None = None
        self._contexts: contexts.Contexts
        self._registrations: Registrations | None = None
        self._ids: Namespace
        self._running: RunningBackends | None = None
        self._cluster: ClusterBackends | None = None
        self._deadline = Deadline()
        self._seen: observations.Observations | None = None
        self._administer(console)
        readiness.watch(self._trouble)  # called from any thread from now on
        readiness.restrain(self._restraint)

    def _administer(self, console: Console) -> None:
        console.routes.add("POST", "/backends/NAME/restart", self._restart)
        console.routes.add("GET", "/backends/NAME/stacks", self._report_stacks)
        RecordRoutes(self._served_store, self._orphans, self._settling).offer(console.routes)
        ImportRoutes(self._importing, self._working).offer(console.routes)
        console.status.add("leadership", self._report_leadership)
        console.status.add("backends", self._report_backends)
        console.log_level.follow(lambda level: self._for_running(lambda running: running.log_from(level)))
        console.on_reread(lambda: self._for_running(RunningBackends.refresh))
        console.on_dump(lambda: self._for_running(RunningBackends.log_stacks))

    def _served_store(self) -> Store:
        """The store, for administrators. Raises NotReady until this process is the active controller."""
        if self._running is None:
            raise NotReady(f"this process does not serve records: {self._readiness.why_not}")
        return self.store

    def _for_running(self, work: Callable[[RunningBackends], None]) -> None:
        if self._running is not None:
            work(self._running)

    def _restart(self, request: Request) -> dict[str, object]:
        """POST /backends/NAME/restart: the process has ended when this returns. Raises NotFound, NotReady."""
        if self._running is None:
            raise NotReady(f"this process runs no back ends: {self._readiness.why_not}")
        return {"restarted": request.names["name"], "ended": self._running.restart(request.names["name"])}

    def _report_stacks(self, request: Request) -> dict[str, object]:
        """GET /backends/NAME/stacks. Raises NotFound, BackendUnavailable."""
        name = request.names["name"]
        backend = next((known for known in self.backends.all() if known.name == name), None)
        if not isinstance(backend, RemoteBackend):
            raise NotFound("back end", name)
        return {"stacks": backend.stacks(STACKS_SECONDS)}

    def _report_leadership(self) -> dict[str, str]:
        if self._leadership is None:
            return {"role": "starting" if self._running is None else "only", "identity": self._owner, "holder": ""}
        held = self._leadership.lease
        return {
            "role": "leader" if self._leadership.is_held else "standby",
            "identity": held.identity,
            "holder": held.holder,
        }

    def _report_backends(self) -> list[dict[str, object]]:
        if self._running is None or self._seen is None:
            return []
        return [self._running.tell(seen) for seen in self._seen.look()]

    def open(self) -> None:
        """Open the store, become the active controller, and start the back ends.

        Raises:
            ConfigurationError, StoreUnavailable.
            NotReady: the process is stopping before it became the active controller.
        """
        forking.warm_up()  # imports Cinder there in the background
        self.store = open_store(self._settings, self._keys.sealer)
        self._undo.callback(self.store.close)
        self._ids = installation.namespace(self.store)
        self._claim_store()
        self.owners = Owners(self.store, owner=self._owner, writer=lambda: self._keys.sealer.writer)
        self._nodes = self._undo.enter_context(node_registry(self._settings))
        if self.store.traits.shared:
            self._lead()
        if self._settings.kubernetes:
            self._believe_nodes()
        restarted = self._metrics.backend_restarted if self._metrics is not None else unmeasured
        self._contexts = self._open_contexts()
        if self._settings.in_kubernetes and self._cluster is None:
            self._watch_objects()
        cluster = self._cluster
        self._running = RunningBackends(
            self._settings,
            self._stopping,
            self.backends,
            self._make,
            restarted=restarted,
            sources=cluster.sources if cluster is not None else None,
            changed=cluster.notice if cluster is not None else unnoticed,
        )
        self._running.start()
        self._start_chores(self._running)

    def _watch_objects(self) -> None:
        from csi_cinderlib.app.cluster_backends import ClusterBackends

        self._cluster = ClusterBackends(
            self._settings, self._reached(), self.store, self._stopping, self._undo, refresh_seconds=REFRESH_SECONDS
        )

    def _open_contexts(self) -> contexts.Contexts:
        registering = self._settings.kubernetes
        return contexts.Contexts(
            self._keys.shared if registering else self._keys.sealer,
            signers=self._keys.signers,
            nodes=self._nodes or self.store,
            registering=registering,
        )

    def _lead(self) -> None:
        """Wait, with Cinder loaded, until this process is the active controller."""
        if self._leadership is None:
            self.owners.beat()
            self._undo.callback(self._leave)
            self._every(SIGN_SECONDS, "owner heartbeat", self.owners.refresh)
            self._leadership = leadership.leadership(self._settings, self.store, self._undo, self._deadline)
        if not self._leadership.wait(self._stopping, self._readiness):
            raise NotReady("the process is stopping")
        self.store = LeasedStore(self.store, self._leadership.lease.check)
        if self._nodes is not None:
            self._nodes = LeasedStore(self._nodes, self._leadership.lease.check)

    def _believe_nodes(self) -> None:
        """Use the validated registrations of nodes as their identities."""
        from csi_cinderlib.app import cluster

        client = self._api()
        self._registrations = Registrations(
            self.store, self._nodes, has_left=lambda node: cluster.has_left(client, node)
        )

    def _make(self, settings: BackendSettings) -> RemoteBackend:
        def assign(is_first: bool) -> Assignment:
            return Assignment(
                settings=settings,
                state_dir=self._settings.state_dir,
                cinder_defaults=self._settings.cinder_defaults,
                traits=self.store.traits,
                log=LogSettings(format=logs.resolve(self._settings.log.format, sys.stderr), level=logs.level()),
                measured=self._metrics is not None,
                is_first=is_first,
            )

        return RemoteBackend(
            assign,
            store=self.store,
            deadline=self._deadline,
            bulkhead=self._bulkhead,
            metrics=self._metrics,
            owner=self._owner,
            volume_types=self._settings.volume_types,
        )

    def _claim_store(self) -> None:
        """In Kubernetes, check that the store belongs to this cluster. Raises ConfigurationError, StoreUnavailable."""
        if not self._settings.in_kubernetes:
            return
        from csi_cinderlib.app import cluster

        client = self._api()
        if uid := cluster.cluster_id(client):
            installation.claim(self.store, uid, take_over_from=self._settings.store.take_over_from)

    def _reached(self) -> Access:
        """The Kubernetes API, with the namespace of this process."""
        from csi_cinderlib.persistence.kubernetes import access

        store = self._settings.store
        return access(store.options if store.plugin == KUBERNETES else {})

    def _api(self) -> Client:
        """A client of the Kubernetes API."""
        from csi_cinderlib.persistence.kubernetes.rest import Client

        client = Client(self._reached(), connections=1)
        self._undo.callback(client.close)
        return client

    def waiting(self) -> frozenset[int]:
        """The threads whose calls currently wait for a back end."""
        return self._bulkhead.waiting()

    def _trouble(self) -> str:
        """A restart would end running drivers' processes, so a single ready back end prevents it."""
        back_ends, seconds = self.backends.all(), forking.failing_for()
        if seconds < FORKLESS_SECONDS or any(backend.ready for backend in back_ends) or not back_ends:
            return ""
        return f"no driver process could be started for {FORKLESS_SECONDS:.0f} s, and no back end has a running process"

    def _restraint(self) -> str:
        return self._running.unusable() if self._running is not None else ""

    def services(self) -> tuple[Service, ...]:
        settings, common = self._settings, (self.store, self.backends, self._locks)
        attachments = Attachments(
            *common,
            ids=self._ids,
            contexts=self._contexts,
            max_per_node=settings.max_volumes_per_node,
            registrations=self._registrations,
        )
        controller = Controller(
            Volumes(*common, ids=self._ids, volume_types=settings.volume_types, page_limit=settings.page_limit),
            Snapshots(*common, ids=self._ids, page_limit=settings.page_limit),
            attachments,
            topologies=self.backends.topologies,
            modifies=self.backends.may_retype,
        )
        return (controller, GroupController(Groups(*common, ids=self._ids)))

    def wait(self) -> None:
        assert self._running is not None, "open() must be called first"
        self._running.wait()

    def close(self) -> None:
        if self._running is not None:
            self._running.close()
        forking.cool_down()
        if self._leadership is not None:
            idle = not self._stopping.is_busy and self._settling.acquire(timeout=SETTLED_SECONDS)
            idle = idle and self._working.shut(SETTLED_SECONDS)
            self._leadership.close(release=idle)
        self._undo.close()

    def _start_chores(self, running: RunningBackends) -> None:
        self._every(SETTLE_SECONDS, "orphans", self._settle, first=FIRST_SETTLE_SECONDS)
        sealing = resealing.Resealing(self.store, self._keys.sealer, lagging=self.owners.lagging)
        self._every(resealing.LOOK_SECONDS, "resealing", sealing.look)
        self._every(contexts.LOOK_SECONDS, "signing keys", self._contexts.tell_all)
        seen = self._seen = observations.Observations(self.backends, unreadable=running.unreadable)
        self._every(observations.LOOK_SECONDS, "back end observations", seen.look)
        if self._metrics is not None:
            from csi_cinderlib.app import figures

            orphans = self._orphans()
            update = figures.Figures(self._metrics, self.store, seen, orphans).update
            self._every(observations.LOOK_SECONDS, "metrics", update, first=figures.FIRST_SECONDS)
        if self._registrations is not None:
            look = self._registrations.look
            self._every(registrations.LOOK_SECONDS, "node registrations", look, first=FIRST_SETTLE_SECONDS)
        if self._cluster is None:
            self._every(REFRESH_SECONDS, "back ends", running.refresh)
        else:
            self._start_in_cluster(self._cluster, running, seen)

    def _start_in_cluster(
        self, cluster: ClusterBackends, running: RunningBackends, seen: observations.Observations
    ) -> None:
        """Publish the back ends for `kubectl`, with any kind of store."""
        from csi_cinderlib.app import volume_imports
        from csi_cinderlib.app.cluster import LOOK_SECONDS, DepartedNodes

        check = self._leadership.lease.check if self._leadership is not None else lease.unshared
        cluster.start(running, self.backends, self.store, seen, check_lease=check)
        imports = volume_imports.VolumeImports(
            cluster.client, cluster.namespace, self._settings.driver_name, self._importing, self._working
        )
        self._every(volume_imports.LOOK_SECONDS, "volume imports", imports.look)
        if self._settings.kubernetes:
            look = DepartedNodes(cluster.client, self._nodes or self.store).look
            self._every(LOOK_SECONDS, "departed nodes", look)

    def _every(self, seconds: float, name: str, work: Callable[[], object], *, first: float | None = None) -> None:
        every(seconds, name, work, self._stopping, first=first)

    def _settle(self) -> None:
        with self._settling:
            for settled in self._orphans().settle():
                orphan = settled.orphan
                if settled.error:
                    _log.warning("orphan not settled", kind=orphan.kind, id=orphan.id, reason=settled.error)
                else:
                    _log.info("orphan settled", kind=orphan.kind, id=orphan.id)

    def _orphans(self) -> Orphans:
        return Orphans(self.store, self.backends, self._locks, nodes=self._nodes)

    def _importing(self) -> Importing:
        """Raises NotReady until this process is the active controller."""
        return Importing(self._served_store(), self.backends, self._locks)

    def _leave(self) -> None:
        with suppress(DriverError):
            self.owners.leave()
