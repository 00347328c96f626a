"""Modification of a volume in place: all or nothing, and resumable.

The wanted type is stored first, then the driver is called, then the result is stored. Only the driver's success proves a state. After an
error, an interruption or a refusal the back end may have some of the wanted properties, so the intent stays on the record until the driver
has set all of them, or the former ones, or an operator forgets it. Another modification begins after that, from a known state. The review of
the driver decides what begins. What has begun is finished or undone whatever the review says now. The mark of a restored copy has begun
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from csi_cinderlib import faultpoints
from csi_cinderlib.backend.columns import update_volume
from csi_cinderlib.backend.retypes import Retypes
from csi_cinderlib.backend.verbs import Driver, Retyped
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    DriverError,
    InUse,
    InvalidRequest,
    PreconditionFailed,
    ResourceExhausted,
    StaleRecord,
    Unsupported,
)
from csi_cinderlib.lifecycle import lookup, mutability
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Modification, Status, Volume, VolumeType
from csi_cinderlib.observe import logs
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.optimistic import change

Update = Callable[[Volume], Volume]
_log = logs.logger(__name__)
_REFUSALS = (InvalidRequest, Unsupported)
_FAILURES = (BackendError, ResourceExhausted, PreconditionFailed, *_REFUSALS)
"""Answers of the driver, after which it can be asked something else. Errors of the store and of this process are not among them."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What a modification uses. `retypes` is the review of the driver."""

    ledger: Ledger
    driver: Driver
    room: Room
    retypes: Retypes


def modify(calls: Calls, record: Volume, wanted: VolumeType | None, mutable_parameters: Mapping[str, str]) -> Volume:
    """Give the volume the wanted type, in place.

    Raises:
        Unsupported, InvalidRequest: the driver cannot do it in place; the volume has its former properties.
        InUse: it does so only while the volume is not attached; nothing is changed.
        DriverError: of the driver; the record keeps the intent, because the outcome is unknown.
    """
    ledger = calls.ledger
    lookup.check_whole(record)
    ledger.check_free(record)
    if is_done(record, wanted):
        return _noted(ledger, record, wanted, mutable_parameters)
    _check_state(record)
    calls.room.check()
    if record.modification is not None:
        if mutability.is_unproven(record.modification):
            _check(calls, record, wanted)
            return _prove(calls, record, record.modification, wanted, mutable_parameters)
        if mutability.is_same(record.modification.wanted, wanted):
            again = replace(record.modification, wanted=wanted, mutable_parameters=dict(mutable_parameters), message="")
            return _attempt(calls, record, again)
        record = _settle(calls, record, record.modification)
        if is_done(record, wanted):
            return _noted(ledger, record, wanted, mutable_parameters)
    _check(calls, record, wanted)
    return _attempt(calls, record, _intent(calls, record, wanted, mutable_parameters))


def settle(calls: Calls, record: Volume) -> Volume:
    """Finish an unfinished modification, or undo it if the driver refuses it or fails. Raises as `modify`."""
    lookup.check_whole(record)
    calls.ledger.check_free(record)
    unfinished = record.modification
    if unfinished is None or mutability.is_unproven(unfinished):
        return record
    return _settle(calls, record, unfinished)


def forget(store: Store, record: Volume) -> Volume:
    """End an unfinished modification without the driver: an operator has seen that the back end has the former properties.

    Raises PreconditionFailed: there is none.
    """

    def forgotten(current: Volume) -> Volume:
        if current.modification is None:
            raise PreconditionFailed(f"volume {current.id!r} has no unfinished modification")
        return replace(current, modification=None, owner="")

    return change(store, record, forgotten)


def check_attachable(record: Volume) -> None:
    """Raises PreconditionFailed: an unfinished modification needs the volume detached."""
    if record.modification is not None and record.modification.detached:
        raise PreconditionFailed(
            f"volume {record.id!r} has an unfinished modification, during which it cannot be attached: "
            f"{record.modification.message or 'it was interrupted'}; it is finished by the next "
            f"ControllerModifyVolume, or forgotten by `csi-cinderlib orphans forget --modification {record.id}`"
        )


def is_done(record: Volume, wanted: VolumeType | None) -> bool:
    """Whether the volume certainly has the properties of the type, so the driver need not be called."""
    return record.modification is None and mutability.is_same(record.type, wanted)


def _noted(ledger: Ledger, record: Volume, wanted: VolumeType | None, mutable_parameters: Mapping[str, str]) -> Volume:
    known = replace(record, type=wanted, mutable_parameters=mutable_parameters)
    return record if known == record else ledger.store.replace(known)


def _check_state(record: Volume) -> None:
    """As in Cinder, a volume is not modified while it is extended, or in a group on the back end, which it must fit."""
    if record.status is Status.EXTENDING:
        raise PreconditionFailed(
            f"volume {record.id!r} has an unfinished extension; it is modified when that is finished"
        )
    if record.group_id:
        raise PreconditionFailed(
            f"volume {record.id!r} is in group {record.group_id!r} for a group snapshot; retry when the snapshot is finished"
        )


def _check(calls: Calls, record: Volume, wanted: VolumeType | None) -> None:
    attached = bool(calls.ledger.attachments(record.id))
    mutability.check(calls.retypes, record, record.type, wanted, attached=attached)


def _intent(
    calls: Calls, record: Volume, wanted: VolumeType | None, mutable_parameters: Mapping[str, str]
) -> Modification:
    return Modification(
        origin=record.type,
        wanted=wanted,
        mutable_parameters=dict(mutable_parameters),
        detached=calls.retypes.needs_detached(mutability.differences(record.type, wanted)),
        begun_at=calls.ledger.now(),
    )


def _settle(calls: Calls, record: Volume, unfinished: Modification) -> Volume:
    """End an unfinished modification, so that the properties of the volume are known: finish it, or undo it if that fails.

    Drivers start from the old properties, for example when they move the volume from one set to another. They are therefore asked
    for exactly the same again.
    """
    intent = replace(unfinished, message="")
    begun = _begin(calls, record, intent)
    try:
        answer = _ask(calls, begun, intent)
    except BackendUnavailable as error:
        _leave(calls.ledger, begun, intent, str(error))
        raise
    except _FAILURES as error:
        return _undo(calls, begun, intent, error)
    if answer.accepted:
        return _finish(calls.ledger, begun, intent, answer)
    return _undo(calls, begun, intent, _refusal(calls, record, intent))


def _attempt(calls: Calls, record: Volume, intent: Modification) -> Volume:
    begun = _begin(calls, record, intent)
    try:
        answer = _ask(calls, begun, intent)
    except _REFUSALS as error:
        _undo(calls, begun, intent, error)
        raise
    except DriverError as error:
        _leave(calls.ledger, begun, intent, str(error))
        raise
    if answer.accepted:
        faultpoints.reach("modify.driver-done")
        return _finish(calls.ledger, begun, intent, answer)
    refusal = _refusal(calls, record, intent)
    if answer.untouched and record.modification is None:
        _withdraw(calls.ledger, begun, intent, None)
    else:
        _undo(calls, begun, intent, refusal)
    raise refusal


def _prove(
    calls: Calls, record: Volume, mark: Modification, wanted: VolumeType | None, mutable_parameters: Mapping[str, str]
) -> Volume:
    """Let the driver set all of its parameters, whatever the back end has. The mark of the restored copy stays until that succeeds."""
    goal = Modification(
        origin=mutability.unlike(calls.retypes, wanted), wanted=wanted, mutable_parameters=dict(mutable_parameters)
    )
    detached = calls.retypes.needs_detached(mutability.differences(goal.origin, wanted))
    mark = replace(mark, detached=mark.detached or detached, message="")
    begun = _begin(calls, record, mark)
    try:
        answer = _ask(calls, begun, goal)
    except _REFUSALS as error:
        raise _unknown(calls.ledger, begun, mark, str(error)) from error
    except DriverError as error:
        _leave(calls.ledger, begun, mark, str(error))
        raise
    if answer.accepted:
        return _finish(calls.ledger, begun, mark, answer, reached=goal)
    refusal = _refusal(calls, record, goal)
    if answer.untouched:
        _leave(calls.ledger, begun, mark, str(refusal))
        raise refusal
    raise _unknown(calls.ledger, begun, mark, str(refusal)) from refusal


def _refusal(calls: Calls, record: Volume, intent: Modification) -> Unsupported:
    keys = ", ".join(mutability.differences(intent.origin, intent.wanted))
    return Unsupported(
        f"back end {calls.ledger.name!r} cannot change volume {record.id!r} in place to {keys}; "
        "create a new volume with these parameters"
    )


def _begin(calls: Calls, record: Volume, intent: Modification) -> Volume:
    """Store the intent. Of an attachment and a modification at the same time, at least one then sees the record of the other."""
    if intent.detached and calls.ledger.attachments(record.id):
        raise InUse(f"volume {record.id!r} is attached, and it can be modified only while it is detached")
    begun = calls.ledger.store.replace(replace(record, modification=intent, owner=calls.ledger.owner, adoption=""))
    faultpoints.reach("modify.record-written")
    if intent.detached and calls.ledger.attachments(begun.id):
        _withdraw(calls.ledger, begun, intent, record.modification)
        raise InUse(f"volume {record.id!r} was attached meanwhile, and it can be modified only while it is detached")
    return begun


def _withdraw(ledger: Ledger, begun: Volume, intent: Modification, left: Modification | None) -> None:
    """Remove an intent of which nothing was done."""
    _store(ledger, begun, intent, lambda current: replace(current, modification=left, owner=""))


def _ask(calls: Calls, begun: Volume, intent: Modification) -> Retyped:
    return calls.driver.retype_volume(begun, calls.ledger.attachments(begun.id), intent)


def _undo(calls: Calls, begun: Volume, intent: Modification, reason: DriverError) -> Volume:
    """Let the driver set the former properties. A refusal does not prove that it has changed nothing.

    Raises:
        BackendError: it does not; the intent stays.
    """
    back = replace(intent, origin=intent.wanted, wanted=intent.origin, mutable_parameters=begun.mutable_parameters)
    try:
        answer = _ask(calls, begun, back)
    except _FAILURES as error:
        raise _unknown(calls.ledger, begun, intent, f"{reason}; and it could not be undone: {error}") from error
    if not answer.accepted:
        raise _unknown(calls.ledger, begun, intent, f"{reason}; and the driver refuses to undo it") from reason
    return _finish(calls.ledger, begun, intent, answer, reached=back)


def _unknown(ledger: Ledger, begun: Volume, intent: Modification, message: str) -> BackendError:
    _leave(ledger, begun, intent, message)
    return BackendError(
        ledger.name,
        f"volume {begun.id!r} may be modified in part: {message}; if the back end has the former properties, "
        f"run `csi-cinderlib orphans forget --modification {begun.id}`",
    )


def _finish(
    ledger: Ledger, begun: Volume, intent: Modification, answer: Retyped, *, reached: Modification | None = None
) -> Volume:
    """Store the result, by default that of the intent. If that fails, the intent stays, and a retry sets the properties again."""
    result = reached or intent

    def finished(current: Volume) -> Volume:
        done = update_volume(current, answer.columns)
        return replace(
            done, type=result.wanted, mutable_parameters=result.mutable_parameters, modification=None, owner=""
        )

    try:
        return _store(ledger, begun, intent, finished)
    except DriverError as error:
        _leave(ledger, begun, intent, f"modified, but the result could not be stored: {error}")
        raise


def _leave(ledger: Ledger, begun: Volume, intent: Modification, message: str) -> None:
    """End an attempt whose outcome is unknown."""
    try:
        _store(
            ledger,
            begun,
            intent,
            lambda current: replace(current, modification=replace(intent, message=message), owner=""),
        )
    except DriverError as error:  # the intent stays without a message
        _log.warning("record update failed", volume=begun.id, backend=ledger.name, reason=str(error))


def _store(ledger: Ledger, begun: Volume, intent: Modification, update: Update) -> Volume:
    """Raises StaleRecord if another process has taken the modification over."""

    def checked(current: Volume) -> Volume:
        if current.owner != ledger.owner or current.modification != intent:
            raise StaleRecord("volume", current.id)
        return update(current)

    return change(ledger.store, begun, checked)
