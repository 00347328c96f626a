"""Writes the conditions of BackendConfiguration objects. Only the active controller does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from csi_cinderlib.app import conditions
from csi_cinderlib.app.backend_status import presentable
from csi_cinderlib.app.backend_views import View
from csi_cinderlib.app.object_states import State
from csi_cinderlib.app.observations import Seen
from csi_cinderlib.config.objects import path_in_object
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model import times
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence import lease
from csi_cinderlib.persistence.kubernetes.configurations import Configurations
from csi_cinderlib.persistence.kubernetes.rest import ApiError

Json = dict[str, Any]
_log = logs.logger(__name__)


class ConfigurationStatus:
    """Call `update` periodically, in one thread. An unavailable API server is logged once and has no other effect.

    Args:
        states: the objects as they were last read.
        look: observes the back ends.
        view: how an object is regarded.
        check_lease: raises LeaseLost if this process must not act any more.
    """

    def __init__(
        self,
        shelf: Configurations,
        states: Callable[[], Iterable[State]],
        look: Callable[[], Iterable[Seen]],
        view: Callable[[State, Seen], View],
        *,
        check_lease: Callable[[], None] = lease.unshared,
        clock: Callable[[], datetime] = times.utc_now,
    ) -> None:
        self._shelf = shelf
        self._states = states
        self._look = look
        self._view = view
        self._check_lease = check_lease
        self._clock = clock
        self._written: dict[str, Json] = {}
        self._failing = False

    def update(self) -> None:
        """Write changed conditions."""
        states = tuple(self._states())
        self._written = {item: self._written[item] for state in states if (item := state.declared.uid) in self._written}
        if not states:
            return
        seen = {look.name: presentable(look) for look in self._look()}
        worked = [self._works(state, seen) for state in states]
        if all(worked) and self._failing:
            _log.info("back end object status updates resumed")
        self._failing = not all(worked)

    def _works(self, state: State, seen: Mapping[str, Seen]) -> bool:
        try:
            self._show(state, seen.get(state.declared.name, Seen(name=state.declared.name)))
        except DriverError as error:
            if isinstance(error, ApiError) and error.status == 404:  # the object has gone since it was read
                return True
            if not self._failing:
                _log.warning("back end object status update failed", object=state.declared.object, reason=str(error))
            return False
        return True

    def _show(self, state: State, seen: Seen) -> None:
        declared = state.declared
        view = self._view(state, seen)
        news: Json = {
            "conditions": conditions.conditions(_of_object(state, seen, view), view),
            "observedGeneration": view.in_effect,  # that of Ready: programs compare it with the newest
        }
        present: Json = declared.found.get("status") or {}
        before = present.get("conditions") or []
        known = self._written.get(declared.uid)
        if known is None:
            known = {**present, "conditions": conditions.untimed(before)}
        else:
            before = known["timed"]
        if all(known.get(key) == value for key, value in news.items()):
            return
        self._check_lease()
        timed = conditions.timed(news["conditions"], before, self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"))
        self._shelf.write(declared.found, {**news, "conditions": timed})
        self._written[declared.uid] = {**news, "timed": timed}


def _of_object(state: State, seen: Seen, view: View) -> Seen:
    """The state of the back end that the object configures, with the key paths of the object."""
    if not state.declared.is_owner:  # the back end of that name is another one
        return Seen(name=seen.name, reason=view.refusal.message if view.refusal is not None else "not claimed yet")
    reason = seen.reason or ("" if seen.ready or view.refusal is None else view.refusal.message)
    return replace(seen, reason=path_in_object(reason, seen.name))
