"""Back ends in Kubernetes: objects that configure them or show them, kept in line with the running back ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from csi_cinderlib.app import backend_status, cluster_volumes, observations
from csi_cinderlib.app.backend_objects import BackendObjects
from csi_cinderlib.app.backend_removal import Removal
from csi_cinderlib.app.backend_views import Views
from csi_cinderlib.app.backends import RunningBackends
from csi_cinderlib.app.configuration_status import ConfigurationStatus
from csi_cinderlib.app.emptiness import Emptiness
from csi_cinderlib.app.sources import Sources
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.app.waking import Chore
from csi_cinderlib.config.load import segments
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.lifecycle.claims import Claims
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.rest import Access, Client
from csi_cinderlib.persistence.kubernetes.statuses import Statuses


class ClusterBackends:
    """The objects of an active controller.

    Args:
        reached: the API server, with the namespace of the objects.
        store: keeps the claims of the objects.
        refresh_seconds: interval between two looks at files of back ends; changes of objects are known at once.

    Raises:
        StoreUnavailable: the claims cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        reached: Access,
        store: Store,
        stopping: Stopping,
        undo: ExitStack,
        *,
        refresh_seconds: float,
    ) -> None:
        claims = Claims(store)
        claims.look()  # before anything is opened: a start that fails is repeated until the store can be read
        self._stopping = stopping
        self._undo = undo
        self._seconds = refresh_seconds
        self._chores: dict[str, Chore] = {}
        self.namespace = reached.namespace
        self.client = Client(reached, connections=4)  # one for each task
        undo.callback(self.client.close)
        host = socket.gethostname()
        named = {"driver_name": settings.driver_name, "instance": host}
        self._shown = Statuses(self.client, reached.namespace, **named)
        self._shelf = Configurations(self.client, reached.namespace, **named)
        objects = BackendObjects(
            partial(Client, reached, connections=1),
            reached.namespace,
            self._shelf,
            claims,
            complete=partial(segments, settings),
            changed=partial(self._wake, "back ends"),
        )
        undo.callback(objects.close)
        objects.wait()
        self.sources = Sources(settings, objects)

    def notice(self) -> None:
        """Show a change of a running back end now."""
        self._wake("back end status")

    def start(
        self,
        running: RunningBackends,
        registry: Backends,
        store: Store,
        seen: observations.Observations,
        *,
        check_lease: Callable[[], None],
    ) -> None:
        """Keep back ends and objects up to date from now on."""
        emptiness = Emptiness(store, registry, partial(cluster_volumes.elsewhere, self.client, self._shelf.driver_name))
        views = Views(running, emptiness.look)
        removal = Removal(self._shelf, self.sources, registry, emptiness, check_lease=check_lease)

        def refresh() -> None:
            running.refresh()
            removal.look()
            self.notice()

        self._begin("back ends", self._seconds, refresh, first=self._seconds)
        status = backend_status.BackendStatus(
            self._shown,
            seen,
            store,
            restart=running.restart,
            view=views.of,
            check_lease=check_lease,
            controller=socket.gethostname(),
        )
        configurations = ConfigurationStatus(
            self._shelf, lambda: self.sources.states, seen.look, views.of_object, check_lease=check_lease
        )

        def show() -> None:
            configurations.update()
            status.update()

        first = backend_status.FIRST_SECONDS
        self._begin("back end status", observations.LOOK_SECONDS, show, first=first)

    def _begin(self, name: str, seconds: float, work: Callable[[], None], *, first: float) -> None:
        chore = self._chores[name] = Chore(seconds, name, work, self._stopping, first=first)
        self._undo.callback(chore.end)

    def _wake(self, name: str) -> None:
        if (chore := self._chores.get(name)) is not None:
            chore.wake()
