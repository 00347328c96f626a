"""Opens the metadata store of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from csi_cinderlib.config import live
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence import codec, plugins
from csi_cinderlib.persistence.api import KINDS, Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.sealing import Sealer

KUBERNETES = "kubernetes"
"""The plugin with a store that nodes can reach."""
IN_MEMORY = ("memory", "stateless")
"""Plugins with records that other processes cannot read."""


def open_store(settings: Settings, sealer: Sealer | None = None) -> Store:
    """Open the store; the default sealer uses the keys of the settings. Raises ConfigurationError or StoreUnavailable."""
    sealer = sealer or Sealer(live.sealing_keys(settings))
    store = settings.store
    return plugins.open_store(
        store.plugin, store.options, state_dir=settings.state_dir, sealer=sealer if sealer.active else None
    )


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """Open the store and close it afterwards."""
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def looked_at(settings: Settings) -> Iterator[tuple[str, Store | None]]:
    """The location of the store, and the store for reading, or None if it does not exist yet. Raises what `open_store` raises."""
    if settings.store.plugin != "sql":
        sealer = Sealer(live.sealing_keys(settings))
        with closing(_as_it_is(settings, sealer if sealer.active else None)) as store:
            yield "can be opened", store
        return
    from csi_cinderlib.persistence import sql

    sealer = Sealer(live.sealing_keys(settings))
    options, state_dir = settings.store.options, settings.state_dir
    with sql.look(options, state_dir=state_dir, sealer=sealer if sealer.active else None) as found:
        yield found


@contextmanager
def reading(settings: Settings, *, whole: bool = False) -> Iterator[Store]:
    """The store for reading, in one thread and in parallel with other processes. Creates and changes nothing.

    Args:
        whole: a record with secrets that cannot be opened is unreadable. Otherwise, without sealing keys, records lack their secrets.

    Raises:
        ConfigurationError: the store does not exist or cannot be read, or only the driver's process has its records.
        StoreUnavailable: it does not respond.
    """
    sealer = Sealer(live.sealing_keys(settings))
    opener = sealer if sealer.active else None if whole else codec.UNOPENED
    name, options, state_dir = settings.store.plugin, settings.store.options, settings.state_dir
    if name == "sql":
        from csi_cinderlib.persistence import sql

        with sql.read(options, state_dir=state_dir, sealer=opener) as store:
            yield store
        return
    if name in IN_MEMORY:
        raise ConfigurationError(
            "store.plugin",
            f"the plugin {name!r} keeps records only in the memory of the driver process, and no driver is running here",
        )
    if name == KUBERNETES:
        from csi_cinderlib.persistence import kubernetes

        with closing(kubernetes.open_for_reading(options, opener)) as store:
            yield store
        return
    if not state_dir.is_dir():
        raise ConfigurationError("state_dir", f"no metadata store at {state_dir} (no such directory)")
    with closing(_as_it_is(settings, opener)) as store:
        yield store


def _as_it_is(settings: Settings, sealer: codec.Sealer | None) -> Store:
    """The store without creating the state directory."""
    plugin = plugins.find(settings.store.plugin)
    return plugin(settings.store.options, state_dir=settings.state_dir, sealer=sealer)


@contextmanager
def existing(settings: Settings) -> Iterator[Store]:
    """The existing store for changes. Raises what `reading` and `open_store` raise."""
    with reading(settings):
        pass
    with opened(settings) as store:
        yield store


@contextmanager
def node_registry(settings: Settings) -> Iterator[Store | None]:
    """The registry of the nodes, if it is not the store of the volumes: nodes have no password of a database.

    Raises:
        ConfigurationError: this process does not run in a pod.
    """
    if not settings.kubernetes or settings.store.plugin == KUBERNETES:
        yield None
        return
    from csi_cinderlib.persistence.kubernetes import open_for_node

    registry = open_for_node({})
    try:
        yield registry
    finally:
        registry.close()


def everything(store: Store, kinds: Iterable[type[Record]] = KINDS) -> Iterator[tuple[str, Record | str]]:
    """Records of several kinds with the name of the kind, in an order in which they can be added again."""
    kind: Any  # mypy cannot take a union of types for the type variable
    for kind in kinds:
        for record in walk_with_unreadable(store, kind):
            yield kind_name(kind), record
