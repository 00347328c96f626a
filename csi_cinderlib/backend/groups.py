"""Snapshots of several volumes at one point in time, by Cinder's generic groups.

A driver takes such a snapshot of a group only, so the volumes are put into a group for just that moment: a volume that stays in
one could be in no other group snapshot, and some arrays refuse to delete it. The emptied group lives as long as the group
snapshot, because drivers find the snapshot by its group.

Some arrays delete the volumes in a group with the group (dell_emc/unity/adapter.py, dell_emc/powermax/common.py). So the group's
record names the volumes before they are put into it, until the driver has taken them out, and no group is deleted before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import blank_copies, convert, faults, leftovers, rows
from csi_cinderlib.backend.engine import OUT_OF_REACH, Engine
from csi_cinderlib.backend.work import Work, change
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    CorruptRecord,
    DriverError,
    InUse,
    NotFound,
    PreconditionFailed,
    StaleRecord,
    StoreUnavailable,
    Unsupported,
)
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.persistence.iteration import all_of

_log = logging.getLogger(__name__)


def create(engine: Engine, record: GroupSnapshot, members: Sequence[Snapshot]) -> GroupSnapshot:
    """Write down the group snapshot and its members, take it, and write down what the driver said."""
    engine.check_room()
    work = engine.work()
    for member in members:
        volume = work.volume(member.volume_id)
        if volume.status is not Status.AVAILABLE:
            raise PreconditionFailed(f"volume {volume.id!r} is {volume.status}")
        work.attachments(
            volume.id
        )  # the driver is told of them: one that cannot be read ends it before anything is begun
    now = record.created_at or engine.now()
    begun = {"status": Status.CREATING, "owner": engine.owner, "created_at": now}
    with ExitStack() as undo:
        record = engine.store.add(
            replace(
                record,
                group_id=record.group_id or record.id,
                snapshot_ids=tuple(one.id for one in members),
                volume_ids=tuple(one.volume_id for one in members),
                **begun,  # type: ignore[arg-type]  # values by name
            )
        )
        undo.callback(engine.remove, record)
        added = []
        for member in members:
            added.append(engine.store.add(replace(member, group_snapshot_id=record.id, **begun)))  # type: ignore[arg-type]  # values by name
            undo.callback(engine.remove, added[-1])
        undo.pop_all()
    faultpoints.reach("create-group-snapshot.record-written")
    try:
        _check_volumes(engine, record)
    except DriverError:
        _remove_records(engine, record, added)
        raise
    return _make(engine, record, added, is_first=True)


def _check_volumes(engine: Engine, record: GroupSnapshot) -> None:
    """Look at the volumes once the intent is visible: a deletion of one counts its snapshots after its own intent is written.

    Raises:
        PreconditionFailed: one cannot be taken a snapshot of.
    """
    for id in record.volume_ids:
        volume = engine.store.get(Volume, id)
        if volume.status is not Status.AVAILABLE:
            raise PreconditionFailed(f"volume {id!r} is {volume.status}")


def resume(engine: Engine, record: GroupSnapshot) -> GroupSnapshot:
    """Finish a creation that ended in the middle: undo what may be there, and take it anew."""
    if record.status is Status.AVAILABLE:
        return record
    if record.status not in (Status.CREATING, Status.ERROR):
        raise PreconditionFailed(f"group snapshot {record.id!r} is {record.status}: its creation cannot be resumed")
    leftovers.refuse_restored("group snapshot", record.id, record.name_taken)
    engine.check_room()
    record = engine.intend(record, Status.CREATING)
    members = all_of(engine.store, Snapshot, {"group_snapshot_id": record.id})
    if len(members) != len(record.snapshot_ids):
        # It died between the records: nothing was asked of the driver yet, and nobody knows the other members.
        for member in members:
            engine.remove(member)
        engine.remove(record)
        raise NotFound("group snapshot", record.id)
    # Taken anew, a member may have other content than before: whoever is copying one must not take it for blank.
    members = tuple(change(engine.store, member, lambda one: replace(one, blank=False)) for member in members)
    try:
        _check_volumes(engine, record)
    except DriverError as error:
        engine.note(record, Status.ERROR, str(error), owner="")  # what an earlier attempt left may still be there
        raise
    if record.name_taken:  # what is there is not this group snapshot's; perhaps it is gone by now
        return _make(engine, record, members)
    try:
        _driver_delete(engine, record, members)
    except (BackendUnavailable, StoreUnavailable):
        raise
    except DriverError as error:
        _log.info("clean-up before taking group snapshot %s again: %s", record.id, error)
    return _make(engine, record, members)


def _make(
    engine: Engine, record: GroupSnapshot, members: Sequence[Snapshot], *, is_first: bool = False
) -> GroupSnapshot:
    try:
        update, updates = _take(engine, record, members)
        by_id = {one["id"]: one for one in updates}
        for member in members:  # an answer that no record can hold is a failure, too
            rows.update_snapshot(member, by_id.get(member.id, {}))
    except DriverError as error:
        if (is_first or record.name_taken) and faults.is_name_taken(error.__cause__ or error):
            raise engine.leave_alone(record, error) from error
        _undo(engine, record, members, error)
        raise
    faultpoints.reach("create-group-snapshot.driver-done")
    kept = {key: value for key, value in update.items() if key not in ("id", "status")}

    def finished(current: GroupSnapshot) -> GroupSnapshot:
        engine.check_own(current, Status.CREATING)
        fields = {**current.fields, **kept}
        return replace(current, status=Status.AVAILABLE, name_taken="", owner="", message="", fields=fields)

    try:
        for member in members:
            blank = blank_copies.is_blank(engine.store, Source(SourceKind.VOLUME, member.volume_id))
            change(engine.store, member, _finished(by_id.get(member.id, {}), blank=blank))
        return change(engine.store, record, finished)
    except (NotFound, StaleRecord) as error:
        taken = [rows.update_snapshot(one, by_id.get(one.id, {})) for one in members]
        with suppress(DriverError):
            _group(engine, record)  # its record went with the group snapshot's
        _undo(engine, replace(record, name_taken="", fields={**record.fields, **kept}), taken, error)
        raise StaleRecord("group snapshot", record.id) from error


def _undo(engine: Engine, record: GroupSnapshot, members: Sequence[Snapshot], error: DriverError) -> None:
    """Leave nothing of a failed group snapshot, or a record that says what could not be undone."""
    if engine.is_taken_over(record):
        return
    if record.name_taken:
        engine.leave(record, str(error))
        return
    try:
        # What the back end carries out late is found by the group's record.
        _driver_delete(engine, record, members, keeps_group=isinstance(error, BackendUnavailable))
    except DriverError as second:
        engine.leave(record, f"{error}; cleaning up failed, too: {second}")
    else:
        if not engine.leave_unanswered(record, error):
            _remove_records(engine, record, members)


def _finished(update: Mapping[str, Any], *, blank: bool) -> Callable[[Snapshot], Snapshot]:
    return lambda one: replace(
        rows.update_snapshot(one, update), status=Status.AVAILABLE, owner="", message="", blank=blank
    )


def _take(
    engine: Engine, record: GroupSnapshot, members: Sequence[Snapshot]
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """Gather the volumes in a group, snapshot it, and let them go."""
    driver = engine.ready_driver()
    work = engine.work()
    group = _group(engine, record)
    volumes = [engine.volume_object(work, work.volume(one.volume_id)) for one in members]
    group_object = engine.call_quietly(work, convert.group_object, engine.context, group, volumes)
    _check(engine, engine.call(work, driver.create_group, engine.context, group_object))
    group = change(engine.store, group, lambda one: replace(one, volume_ids=record.volume_ids))
    faultpoints.reach("create-group-snapshot.members-written")
    try:
        _move(engine, work, group_object, add=volumes)
        _label(work, record.volume_ids, group.id)
        taken = [engine.snapshot_object(work, one) for one in members]
        made = engine.call_quietly(work, convert.group_snapshot_object, engine.context, record, group_object, taken)
        update, updates = engine.call(work, driver.create_group_snapshot, engine.context, made, taken)
        for said in (update, *(updates or ())):
            _check(engine, said)
    except DriverError:
        with suppress(DriverError):  # tried again before the group is deleted; the first error tells what to do
            _empty(engine, work, group, volumes)
        raise
    _empty(engine, work, group, volumes)
    return update or {}, updates or []


def _empty(engine: Engine, work: Work, group: Group, volumes: Sequence[Any]) -> Group:
    """Take out of the array's group all volumes that may be in it."""
    if not volumes:
        return group
    group_object = engine.call_quietly(work, convert.group_object, engine.context, group, volumes)
    try:
        _move(engine, work, group_object, remove=volumes)
    except BackendUnavailable:
        raise
    except DriverError as error:
        _log.info("taking the volumes out of group %s one by one: %s", group.id, error)
        for volume in volumes:
            _take_out(engine, work, group_object, volume)
    for volume in volumes:
        with suppress(NotFound):  # deleted meanwhile
            work.change_volume(volume.id, lambda one: replace(one, group_id="") if one.group_id == group.id else one)
    with suppress(NotFound):  # another process has deleted the group snapshot
        group = change(engine.store, group, lambda one: replace(one, volume_ids=()))
    return group


def _volumes_in(engine: Engine, work: Work, group: Group) -> list[Any]:
    """What may be in the array's group; versions before the record named them only labelled the volumes."""
    labelled = (one.id for one in all_of(engine.store, Volume, {"group_id": group.id}))
    try:
        records = [work.volume(id) for id in dict.fromkeys((*group.volume_ids, *labelled))]
    except NotFound as error:
        raise PreconditionFailed(
            f"{error}, and it may be in group {group.id!r} on the back end, which may delete it with the group"
        ) from None
    return [engine.volume_object(work, record) for record in records]


def _take_out(engine: Engine, work: Work, group_object: Any, volume: Any) -> None:
    try:
        _move(engine, work, group_object, remove=[volume])
    except BackendUnavailable:
        raise
    except DriverError:  # perhaps because it is not in the group: what has come in can be taken out
        try:
            _move(engine, work, group_object, add=[volume])
        except Unsupported:  # so it has never come in
            return
        _move(engine, work, group_object, remove=[volume])


def _group(engine: Engine, record: GroupSnapshot) -> Group:
    try:
        return engine.store.get(Group, record.group_id)
    except NotFound:
        return engine.store.add(
            Group(
                id=record.group_id,
                name=record.name,
                backend=engine.name,
                host=engine.store.get(Volume, record.volume_ids[0]).host,
                status=Status.AVAILABLE,
                consistent=True,
                created_at=engine.now(),
            )
        )


def _move(engine: Engine, work: Work, group: Any, *, add: Sequence[Any] = (), remove: Sequence[Any] = ()) -> None:
    """Put volumes into a group, or take them out."""
    update_group = engine.ready_driver().update_group
    answer = engine.call(work, update_group, engine.context, group, add_volumes=list(add), remove_volumes=list(remove))
    said, added, removed = answer or (None, None, None)
    _check(engine, said)
    for update in (*(added or ()), *(removed or ())):
        columns = dict(update)
        work.change_volume(update["id"], lambda one, columns=columns: rows.update_volume(one, columns))  # type: ignore[misc]  # bound at once


def _label(work: Work, volume_ids: Iterable[str], group_id: str) -> None:
    """Write on the volumes' records which group they are in."""
    for id in volume_ids:
        with suppress(NotFound):  # deleted meanwhile
            work.change_volume(id, lambda one: replace(one, group_id=group_id))


def _check(engine: Engine, update: Mapping[str, Any] | None) -> None:
    """Drivers may report a failure as a status instead of raising."""
    if update and str(update.get("status")).startswith("error"):
        raise BackendError(engine.name, f"the driver reports {update['status']!r}")


def delete(engine: Engine, record: GroupSnapshot) -> None:
    """Delete the group snapshot, its members, its group, and their records."""
    engine.ready_driver()
    was = record
    try:
        record = engine.intend(record, Status.DELETING)
    except NotFound:
        return
    faultpoints.reach("delete-group-snapshot.record-written")
    is_whole = was.status is Status.AVAILABLE
    try:
        members = all_of(engine.store, Snapshot, {"group_snapshot_id": record.id})
        engine.refuse_copies(*members)
        is_whole = False  # a driver deletes one member after the other, and may find one in use at last
        _driver_delete(engine, record, members)
    except InUse as error:
        engine.note_refusal(record, was, error, is_whole=is_whole)
        raise
    except DriverError as error:
        if is_whole and isinstance(error, CorruptRecord):
            engine.give_back(record, was.status, was.message, owner=was.owner)
        else:
            engine.note(record, Status.DELETING, str(error))
        raise
    faultpoints.reach("delete-group-snapshot.driver-done")
    _remove_records(engine, record, members)


def _driver_delete(
    engine: Engine, record: GroupSnapshot, members: Sequence[Snapshot], *, keeps_group: bool = False
) -> None:
    driver = engine.ready_driver()
    work = engine.work()
    try:
        group = engine.store.get(Group, record.group_id)
    except NotFound:
        return  # the driver was not asked for anything yet, or everything is gone
    group = _empty(engine, work, group, _volumes_in(engine, work, group))
    group_object = engine.call_quietly(work, convert.group_object, engine.context, group)
    doomed = [engine.snapshot_object(work, one) for one in members]
    if record.name_taken:
        # The group stays, too: an array that has such members may have had such a group, and answered OK.
        for member, one in zip(members, doomed, strict=True):
            engine.note_leftover(member, one.name, leftovers.why(record.name_taken))
        engine.remove(group)
        return
    made = engine.call_quietly(work, convert.group_snapshot_object, engine.context, record, group_object, doomed)
    for one in doomed:
        one.missed_id = False
    try:
        _gone_is_fine(engine, work, record, driver.delete_group_snapshot, made, doomed)
    finally:
        for member, one in zip(members, doomed, strict=True):
            if one.missed_id and member.status is not Status.AVAILABLE:
                engine.note_leftover(member, one.name, OUT_OF_REACH)
    _gone_is_fine(engine, work, group, driver.delete_group, group_object, [])
    if not keeps_group:
        engine.remove(group)


def _gone_is_fine(
    engine: Engine, work: Work, record: GroupSnapshot | Group, operation: Callable[..., Any], *arguments: Any
) -> None:
    try:
        update, updates = engine.call(work, operation, engine.context, *arguments) or (None, None)
    except DriverError as error:
        if not faults.is_missing(error.__cause__ or error, record):
            raise
        return
    for said in (update, *(updates or ())):
        _check(engine, said)


def _remove_records(engine: Engine, record: GroupSnapshot, members: Sequence[Snapshot]) -> None:
    for member in members:
        engine.remove_snapshot(member)
    engine.remove(record)
