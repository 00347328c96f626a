"""Opens the metadata store for commands that only read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from csi_cinderlib.commands import output
from csi_cinderlib.errors import DriverError

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.persistence.api import Store


@contextmanager
def reading(settings: Settings) -> Iterator[Store]:
    """Open the store read-only, even while a driver runs. Raises ConfigurationError or StoreUnavailable."""
    from csi_cinderlib.app import stores

    if settings.store.plugin in stores.IN_MEMORY:
        from csi_cinderlib.commands.running_store import RunningStore

        yield RunningStore(settings)
        return
    with stores.reading(settings) as store:
        yield store


@contextmanager
def registry(settings: Settings, store: Store) -> Iterator[Store | None]:
    """The store in which nodes register; None, with a message on standard error, if it cannot be reached."""
    from csi_cinderlib.app import stores

    with ExitStack() as undo:
        try:
            other = undo.enter_context(stores.node_registry(settings))
        except DriverError as error:
            output.print_text(f"cannot read the registered nodes: {error}", sys.stderr)
            yield None
            return
        yield other or store


def orphans(settings: Settings, store: Store) -> list[dict[str, Any]]:
    """All unfinished work."""
    from csi_cinderlib.commands.running_store import RunningStore
    from csi_cinderlib.inspection import lists

    if isinstance(store, RunningStore):
        return store.orphans()
    with registry(settings, store) as known:
        return lists.orphans(store, known)
