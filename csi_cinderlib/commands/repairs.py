"""How unfinished work is repaired: by the running driver, or in this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.provisioning.orphans import Orphans


@contextmanager
def opened(settings: Settings, backends: Collection[str]) -> Iterator[Callable[[str], str]]:
    """What repairs the orphan of an id and answers why that failed, "" if it did not.

    Raises:
        what `app.repairing.repairing` raises.
    """
    from csi_cinderlib.app.repairing import repairing
    from csi_cinderlib.observe import logs

    logs.configure(format=settings.log.format, level="error")
    with repairing(settings, backends) as orphans:
        yield lambda id: orphans.fix(id).error


@contextmanager
def records(settings: Settings) -> Iterator[Orphans]:
    """For changes of records alone."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.concurrency import KeyedLocks
    from csi_cinderlib.lifecycle.registry import Backends
    from csi_cinderlib.provisioning.orphans import Orphans

    with stores.existing(settings) as store, stores.node_registry(settings) as nodes:
        yield Orphans(store, Backends(), KeyedLocks(), nodes=nodes)
