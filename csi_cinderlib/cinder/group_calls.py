"""Driver calls for volume groups and group snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from csi_cinderlib.backend.columns import update_snapshot
from csi_cinderlib.backend.verbs import Columns, Outcome
from csi_cinderlib.cinder import answers, convert, faults
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.errors import BackendError, DriverError
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Status, Volume


def create_group(engine: Engine, group: Group, volumes: Sequence[Volume]) -> None:
    driver = engine.ready_driver()
    work, subject, _ = _group(engine, group, volumes)
    with answers.told_by_name():
        _check(engine, engine.call(work, driver.create_group, engine.context, subject))


def update_group(
    engine: Engine, group: Group, volumes: Sequence[Volume], add: Sequence[Volume], remove: Sequence[Volume]
) -> Mapping[str, Columns]:
    update = engine.ready_driver().update_group
    work, subject, by_id = _group(engine, group, volumes)
    added, removed = ([by_id[volume.id] for volume in those] for those in (add, remove))
    with answers.told_by_name():
        answer = engine.call(work, update, engine.context, subject, add_volumes=added, remove_volumes=removed)
        with _understood(engine, "update_group"):
            group_update, *updates = answer or (None, None, None)
            kept = {update["id"]: answers.plain(update) for several in updates for update in several or ()}
        _check(engine, group_update)
    return kept


def create_snapshot(
    engine: Engine, record: GroupSnapshot, group: Group, volumes: Sequence[Volume], members: Sequence[Snapshot]
) -> tuple[Columns, Mapping[str, Columns]]:
    driver = engine.ready_driver()
    work, subject, by_id = _group(engine, group, volumes)
    taken = [engine.snapshot_object(work, member, by_id[member.volume_id]) for member in members]
    created = engine.call_quietly(work, convert.group_snapshot_object, engine.context, record, subject, taken)
    with answers.told_by_name(), ExitStack() as kept:
        for member, snapshot in zip(members, taken, strict=True):
            kept.enter_context(answers.ids_kept(work, member, snapshot))
        answer = engine.call(work, driver.create_group_snapshot, engine.context, created, taken)
        with _understood(engine, "create_group_snapshot"):
            update, updates = dict(answer[0] or {}), answer[1]
            by_member = {said["id"]: dict(said) for said in updates or ()}
        for snapshot in taken:
            answers.put_ids(snapshot, by_member.get(snapshot.id, {}))
        for said in (update, *by_member.values()):
            _check(engine, said)
        for member in members:  # fails if a record cannot store the result
            update_snapshot(member, by_member.get(member.id, {}))
    return answers.plain(update), {id: answers.plain(said) for id, said in by_member.items()}


def delete_snapshot(
    engine: Engine, record: GroupSnapshot, group: Group, members: Sequence[Snapshot]
) -> Mapping[str, Outcome]:
    engine.ready_driver()
    work, subject, _ = _group(engine, group, ())
    doomed = {member.id: engine.snapshot_object(work, member) for member in members}
    for snapshot in doomed.values():
        snapshot.missed_id = False
    missing: dict[str, str] = {}
    failure: DriverError | None = None
    try:
        _delete_members(engine, work, record, subject, members, doomed, missing)
    except DriverError as error:
        failure = error
    missed = {member.id for member in members if doomed[member.id].missed_id and member.status is not Status.AVAILABLE}
    if failure is not None and not missed:
        raise failure
    return {
        id: Outcome(name=snapshot.name, missing=missing.get(id, ""), out_of_reach=id in missed, failure=failure)
        for id, snapshot in doomed.items()
    }


def _delete_members(
    engine: Engine,
    work: Work,
    record: GroupSnapshot,
    subject: Any,
    members: Sequence[Snapshot],
    doomed: Mapping[str, Any],
    missing: dict[str, str],
) -> None:
    """Delete the snapshots, again without each member that is already missing: a driver stops at the first one.

    Args:
        missing: receives the driver's message by id for these members.
    """
    left, reached = list(members), 0
    while True:
        snapshots = [doomed[member.id] for member in left]
        deleted = engine.call_quietly(work, convert.group_snapshot_object, engine.context, record, subject, snapshots)
        try:
            _gone_is_fine(engine, work, record, engine.driver.delete_group_snapshot, deleted, snapshots)
        except DriverError as error:
            gone = next((member for member in left if faults.is_missing(error.__cause__ or error, member)), None)
            if gone is None:
                raise
            if members.index(gone) >= reached:  # otherwise this call has deleted it
                missing[gone.id] = str(error)
            reached = max(reached, members.index(gone))
            left.remove(gone)
        else:
            return


def delete_group(engine: Engine, group: Group) -> None:
    driver = engine.ready_driver()
    work, subject, _ = _group(engine, group, ())
    _gone_is_fine(engine, work, group, driver.delete_group, subject, [])


def _group(engine: Engine, group: Group, volumes: Sequence[Volume]) -> tuple[Work, Any, dict[str, Any]]:
    """Cinder's Group object with its volumes, and the volumes by id."""
    work = engine.work(*volumes)
    by_id = {volume.id: engine.volume_object(work, volume) for volume in volumes}
    subject = engine.call_quietly(work, convert.group_object, engine.context, group, list(by_id.values()))
    return work, subject, by_id


@contextmanager
def _understood(engine: Engine, operation: str) -> Iterator[None]:
    """Raise BackendError for a result that does not have Cinder's format."""
    try:
        yield
    except (TypeError, ValueError, KeyError) as error:
        raise BackendError(engine.name, f"the driver returned an invalid result from {operation}: {error!r}") from error


def _check(engine: Engine, update: Mapping[str, Any] | None) -> None:
    """Drivers may report a failure as a status instead of raising."""
    if update and str(update.get("status")).startswith("error"):
        raise BackendError(engine.name, f"the driver reported status {update['status']!r}")


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
