"""Lets deleted BackendConfiguration objects go, once their back ends have no volumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from csi_cinderlib.app import conditions
from csi_cinderlib.app.emptiness import Emptiness, Remains
from csi_cinderlib.app.object_states import Declared
from csi_cinderlib.app.sources import Sources
from csi_cinderlib.errors import DriverError
from csi_cinderlib.faultpoints import reach
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model import times
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.rest import ApiError

EVENT_SECONDS = 600.0
"""Interval between two events on an object whose deletion is refused."""

_log = logs.logger(__name__)


class Removal:
    """Call `look` after each refresh of the back ends, in the same thread.

    The claim of a released object goes when the object has gone: see `BackendObjects.read`.

    Args:
        check_lease: raises LeaseLost if this process must not act any more.
    """

    def __init__(
        self,
        shelf: Configurations,
        sources: Sources,
        registry: Backends,
        emptiness: Emptiness,
        *,
        check_lease: Callable[[], None] = lease.unshared,
        clock: Callable[[], datetime] = times.utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shelf = shelf
        self._sources = sources
        self._registry = registry
        self._emptiness = emptiness
        self._check_lease = check_lease
        self._clock = clock
        self._now = monotonic
        self._told: dict[str, float] = {}

    def look(self) -> None:
        """Raises StoreUnavailable."""
        declared = [state.declared for state in self._sources.states]
        deleting = [item for item in declared if item.is_deleting and item.is_kept]
        self._told = {item.uid: self._told.get(item.uid, -math.inf) for item in deleting}
        for item in deleting:
            if self._sources.is_unreadable(item.name):
                continue  # the back end may be that of any object
            if remains := self._remains(item):
                self._tell(item, remains)
            else:
                self._let_go(item)

    def _remains(self, item: Declared) -> Remains:
        """What keeps an object, whether it has a claim or not: a claim can be lost.

        Nothing keeps it if a readable file takes the back end over with its volumes. Another object cannot, since the name of the object
        follows from that of the back end: a claim of another uid is that of an object that is gone.
        """
        if self._sources.has_file(item.name):
            return Remains()
        if item.is_owner or not self._sources.may_have_file(item.name):
            self._drain(item.name)
        return self._emptiness.prove(item.name)

    def _drain(self, name: str) -> None:
        """Close a back end for new volumes."""
        self._registry.intake(name).drain()
        for backend in self._registry.all():
            if backend.name == name:
                backend.apply(replace(backend.settings, drained=True))

    def _let_go(self, item: Declared) -> None:
        self._check_lease()
        reach("back-end.proven-empty")
        try:
            self._shelf.release(item.found)
            reach("back-end.released")
        except ApiError as error:
            if error.status != 404:  # it has changed: look again at the new state
                _log.warning("back end object not released", backend=item.name, reason=str(error))
            return
        _log.info("back end object released", backend=item.name, object=item.object)

    def _tell(self, item: Declared, remains: Remains) -> None:
        if remains.is_open or self._now() - self._told[item.uid] < EVENT_SECONDS:
            return
        if not (remains := self._emptiness.count(item.name)):
            return
        self._told[item.uid] = self._now()
        note = f"Deletion refused: {conditions.refusal_of_deletion(remains)}"
        _log.warning("deletion of a back end object refused", backend=item.name, reason=note)
        try:
            self._shelf.tell(item.found, reason="DeletionRefused", note=note, warning=True, now=self._clock())
        except DriverError as error:
            _log.warning("back end event not sent", reason=str(error))
