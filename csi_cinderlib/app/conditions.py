"""The conditions of a back end in the standard form of Kubernetes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from csi_cinderlib.app.backend_views import View
from csi_cinderlib.app.emptiness import Remains
from csi_cinderlib.app.observations import Seen

Json = dict[str, Any]

READY, ACCEPTED, PAUSED, DRAINED, DELETING = "Ready", "Accepted", "Paused", "Drained", "Deleting"
LONGEST_MESSAGE = 1000
"""Characters. The API server refuses the whole status for a message of more than 32768."""
_TIME = "lastTransitionTime"
_NOT_RUNNING = "NotRunning"


def conditions(seen: Seen, view: View) -> list[Json]:
    """The conditions without their times.

    The generation of Ready is the one in effect: after a refused change, `kubectl wait --for=condition=Ready` does not take the
    previous options for the new ones.
    """
    declared = view.declared
    newest = declared.generation if declared is not None else 0
    found = [_ready(seen, view, view.in_effect), _accepted(view, newest), _paused(view, newest), _drained(view, newest)]
    if declared is not None and declared.is_deleting:
        found.append(_deleting(view, newest))
    return found


def timed(found: Iterable[Json], before: Iterable[Mapping[str, Any]], now: str) -> list[Json]:
    """The conditions with the times of their last transitions."""
    known = {(item.get("type"), item.get("status")): item.get(_TIME) for item in before}
    return [{**item, _TIME: known.get((item["type"], item["status"])) or now} for item in found]


def untimed(found: Iterable[Mapping[str, Any]]) -> list[Json]:
    """The conditions of an object without their times, to compare them."""
    return [{key: value for key, value in item.items() if key != _TIME} for item in found]


def _condition(kind: str, status: bool | None, reason: str, message: str, generation: int) -> Json:
    word = "Unknown" if status is None else str(status)
    known = {"observedGeneration": generation} if generation else {}
    return {"type": kind, "status": word, "reason": reason, "message": shortened(message), **known}


def shortened(text: str) -> str:
    """The beginning of a text that is too long for a status."""
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 4]} ..."


def _ready(seen: Seen, view: View, generation: int) -> Json:
    if seen.ready:
        return _condition(READY, True, "Ready", seen.reason or "the back end is set up and responds", generation)
    reason = "Starting" if seen.starting else view.refusal.reason if view.refusal else "NotReady"
    return _condition(READY, False, reason, seen.reason, generation)


def _accepted(view: View, generation: int) -> Json:
    if view.refusal is not None:
        return _condition(ACCEPTED, False, view.refusal.reason, view.refusal.message, generation)
    if view.is_pending:
        return _condition(ACCEPTED, None, "BeingChecked", "the driver is checking the options", generation)
    return _condition(ACCEPTED, True, "Accepted", "the configuration is in effect", generation)


def _paused(view: View, generation: int) -> Json:
    if view.settings is not None and view.settings.paused and view.is_busy:
        message = "nothing new is begun; operations that were begun before are in progress"
        return _condition(PAUSED, False, "Pausing", message, generation)
    if view.settings is not None and view.settings.paused:
        message = "nothing is created, deleted, expanded or snapshotted; volumes are attached and detached"
        return _condition(PAUSED, True, "Paused", message, generation)
    if view.settings is None:
        return _condition(PAUSED, False, _NOT_RUNNING, "the back end does not run", generation)
    return _condition(PAUSED, False, "NotPaused", "the back end provisions volumes", generation)


def _drained(view: View, generation: int) -> Json:
    if view.remains is None and view.settings is None:
        return _condition(DRAINED, False, _NOT_RUNNING, "the back end does not run", generation)
    if view.remains is None:
        return _condition(DRAINED, False, "NotDrained", "the back end accepts new volumes", generation)
    if view.remains:
        return _condition(DRAINED, False, "Draining", f"no new volumes are accepted; {view.remains} left", generation)
    return _condition(DRAINED, True, "Empty", "no new volumes are accepted, and none are left", generation)


def _deleting(view: View, generation: int) -> Json:
    if view.remains:
        message = refusal_of_deletion(view.remains)
        if view.refusal is not None:
            message += f". They can be deleted only after a correction: {view.refusal.message}"
        return _condition(DELETING, True, "VolumesExist", message, generation)
    return _condition(DELETING, True, "Finishing", "the back end has no volumes and is being removed", generation)


def refusal_of_deletion(remains: Remains) -> str:
    """Why an object is not removed."""
    checked = " and the leftovers are checked (`csi-cinderlib orphans`)" if remains.leftovers else ""
    return (
        f"the back end still has {remains}; it is removed when these are deleted{checked}, and accepts no new volumes"
    )
