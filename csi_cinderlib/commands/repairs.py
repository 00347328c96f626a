"""Repairs or forgets unfinished work, through the running driver or, if none runs, in this process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from csi_cinderlib.commands import running

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.provisioning.orphans import Orphans

SECONDS = 600.0
"""Time limit for a driver to delete an object."""


@contextmanager
def opened(settings: Settings, backends: Collection[str]) -> Iterator[Callable[[str], str]]:
    """Yields a function that repairs the orphan with an id and returns the error, or "".

    Raises:
        what `running.request` and `app.repairing.repairing` raise.
    """
    if controller_runs(settings):
        yield lambda id: str(_post(settings, id, "fix", SECONDS)["error"])
        return
    from csi_cinderlib.app.repairing import repairing
    from csi_cinderlib.observe import logs

    logs.configure(format=settings.log.format, level="error")
    with repairing(settings, backends) as orphans:
        yield lambda id: orphans.fix(id).error


def forget(settings: Settings, id: str) -> list[str]:
    """Forget failed objects with that id and return their descriptions."""
    if controller_runs(settings):
        return list(_post(settings, id, "forget", running.SECONDS)["forgotten"])
    with records(settings) as orphans:
        return list(orphans.forget(id))


def forget_modification(settings: Settings, id: str) -> list[str]:
    """Forget the unfinished modification of a volume and return its description.

    Raises:
        ConfigurationError, PreconditionFailed: a controller that is not reached from here may be modifying the volume.
    """
    if controller_runs(settings):
        return list(_post(settings, id, "forget-modification", running.SECONDS)["forgotten"])
    from csi_cinderlib.app import stores
    from csi_cinderlib.app.repairing import repairing

    with stores.reading(settings):
        pass  # a store that does not exist is not created
    with repairing(settings, ()) as orphans:
        return [orphans.forget_modification(id)]


@contextmanager
def records(settings: Settings) -> Iterator[Orphans]:
    """Opens the records in this process. No back end is set up."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.concurrency import KeyedLocks
    from csi_cinderlib.lifecycle.registry import Backends
    from csi_cinderlib.provisioning.orphans import Orphans

    with stores.existing(settings) as store, stores.node_registry(settings) as nodes:
        yield Orphans(store, Backends(), KeyedLocks(), nodes=nodes)


def controller_runs(settings: Settings) -> bool:
    """Whether a controller uses this state directory. Raises Silent or NotOurs."""
    try:
        return bool(running.request(settings, "GET", "/status")["mode"] != "node")
    except running.NotRunning:
        return False


def _post(settings: Settings, id: str, action: str, patience: float) -> dict[str, Any]:
    return running.request(settings, "POST", f"/orphans/{quote(id, safe='')}/{action}", patience=patience)
