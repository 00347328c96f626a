"""Repairs orphans in this process while no controller runs, with the locks, lease and drivers of a controller."""

from __future__ import annotations

import socket
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from csi_cinderlib.app import configured, leadership, state_dir
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.app.stores import node_registry, open_store
from csi_cinderlib.backend import forking
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.bulkhead import Bulkhead
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.config.settings import BackendSettings, Settings
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.errors import DriverError, PreconditionFailed, StoreUnavailable
from csi_cinderlib.host.deadline import Deadline
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.lifecycle.remote import RemoteBackend
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.lease import LeasedStore
from csi_cinderlib.provisioning.orphans import Orphans


@contextmanager
def repairing(settings: Settings, backends: Collection[str]) -> Iterator[Orphans]:
    """Sets up the drivers of these back ends to fix orphans on them. A driver that fails is reported when it is needed.

    Raises:
        ConfigurationError: another process uses the state directory, or a setting is wrong.
        PreconditionFailed: another process is the active controller.
        StoreUnavailable.
    """
    with state_dir.hold(settings.state_dir), ExitStack() as undo:
        deadline = Deadline()
        store = open_store(settings)
        undo.callback(store.close)
        if store.traits.shared:
            store = _lead(settings, store, undo, deadline)
        nodes = undo.enter_context(node_registry(settings))
        undo.callback(forking.cool_down)
        registry = Backends()
        for found in _configured(settings, store, backends):
            if found.name in backends:
                backend = _backend(settings, found, store, deadline)
                registry.add(backend)
                undo.callback(registry.remove, backend.name)
                with suppress(DriverError):  # reported for each orphan on this back end; the others are repaired
                    backend.start()
        yield Orphans(store, registry, KeyedLocks(), nodes=nodes)


def _configured(settings: Settings, store: Store, wanted: Collection[str]) -> tuple[BackendSettings, ...]:
    """Raises StoreUnavailable: an object may configure one of the wanted back ends, but the objects cannot be read."""
    known = configured.backends(settings, store)
    missing = set(wanted) - {backend.name for backend in known.found.backends}
    if known.failure is not None and missing:
        names = ", ".join(map(repr, sorted(missing)))
        raise StoreUnavailable(f"back ends of objects are not known, so not of {names} either: {known.failure}")
    return known.found.backends


def _lead(settings: Settings, store: Store, undo: ExitStack, deadline: Deadline) -> Store:
    lead = leadership.leadership(settings, store, undo, deadline)
    if not lead.lease.acquire():
        raise PreconditionFailed(
            f"{lead.lease.holder} is the active controller; run this command there with the same configuration"
        )
    lead.wait(Stopping(), Readiness())
    undo.callback(lambda: lead.close(release=True))
    return LeasedStore(store, lead.lease.check)


def _backend(settings: Settings, backend: BackendSettings, store: Store, deadline: Deadline) -> RemoteBackend:
    def assign(is_first: bool) -> Assignment:
        return Assignment(
            settings=backend,
            state_dir=settings.state_dir,
            cinder_defaults=settings.cinder_defaults,
            traits=store.traits,
            log=replace(settings.log, format=logs.resolve(settings.log.format, sys.stderr), level="error"),
            is_first=is_first,
        )

    return RemoteBackend(
        assign,
        store=store,
        deadline=deadline,
        bulkhead=Bulkhead(settings.workers, lambda: 1),
        owner=f"{socket.gethostname()}:{settings.state_dir}",
        volume_types=settings.volume_types,
    )
