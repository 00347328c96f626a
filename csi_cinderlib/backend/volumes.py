"""Volumes: create (new, from a snapshot, as a clone), delete, extend, revert."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import blank_copies, faults, leftovers, loading, lock_files, rows, shares
from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.backend.work import Work, change
from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    CorruptRecord,
    DriverError,
    InUse,
    NotFound,
    OutOfRange,
    PreconditionFailed,
    StaleRecord,
    StoreUnavailable,
    Unsupported,
)
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, SourceKind, Status, Volume
from csi_cinderlib.model.size import GiB, to_bytes

_log = logging.getLogger(__name__)
_UNFINISHED = (Status.CREATING, Status.ERROR)


def create(engine: Engine, record: Volume) -> Volume:
    """Write the record down, create the volume, and write down what the driver said."""
    engine.check_room()
    work = engine.work()
    record = replace(
        record,
        status=Status.CREATING,
        blank=record.source is None,
        owner=engine.owner,
        created_at=record.created_at or engine.now(),
    )
    _check_source(work, record)
    _leave_file_alone(engine, work, record)  # before there is a record: a retry with one takes the file for its own
    record = engine.store.add(record)
    faultpoints.reach("create-volume.record-written")
    if problem := _lost_source(engine, record):
        engine.remove(record)
        raise PreconditionFailed(problem)
    return _make(engine, work, record, is_first=True)


def resume(engine: Engine, record: Volume) -> Volume:
    """Finish a creation that ended in the middle: undo what may be there, and start over.

    Only a volume that was never handed out is CREATING or ERROR, so there is no data to lose.
    """
    if record.status is Status.AVAILABLE:
        return record
    if record.status not in (Status.CREATING, Status.ERROR):
        raise PreconditionFailed(f"volume {record.id!r} is {record.status}: its creation cannot be resumed")
    leftovers.refuse_restored("volume", record.id, record.name_taken)
    engine.check_room()
    driver = engine.ready_driver()
    record = engine.intend(record, Status.CREATING)
    if problem := _lost_source(engine, record):
        engine.note(record, Status.ERROR, problem, owner="")  # what an earlier attempt left may still be there
        raise PreconditionFailed(problem)
    work = engine.work(record)
    work.attached[record.id] = ()
    if record.name_taken:  # what is there is not this volume's; perhaps it is gone by now
        return _make(engine, work, record)
    try:
        engine.call_to_delete(work, driver.delete_volume, engine.volume_object(work, record), record)
    except (BackendUnavailable, StoreUnavailable):
        raise
    except DriverError as error:
        # Most likely there was nothing to delete. If something is there, creating it again fails, and says so.
        _log.info("clean-up before creating volume %s again: %s", record.id, error)
    return _make(engine, work, work.volume(record.id))


def _check_source(work: Work, record: Volume) -> None:
    """Read the source now: it is needed anyway, and a size that cannot be met leaves no record behind."""
    if record.source is None:
        return
    source: Volume | Snapshot
    if record.source.kind is SourceKind.SNAPSHOT:
        source = work.snapshot(record.source.id)
    else:
        source = work.volume(record.source.id)
    kind = record.source.kind.value
    if source.backend != record.backend:
        raise Unsupported(f"{kind} {source.id!r} is on back end {source.backend!r}, not on {record.backend!r}")
    if source.status in (Status.CREATING, Status.DELETING, Status.DELETED, Status.ERROR):
        raise PreconditionFailed(f"{kind} {source.id!r} is {source.status}")
    if record.size < source.size:
        raise OutOfRange(
            "capacity_range", f"{to_bytes(record.size)} bytes is less than the {kind}'s {to_bytes(source.size)}"
        )


def _lost_source(engine: Engine, record: Volume) -> str:
    """Why its source cannot be copied any more, or "".

    A deletion of the source counts the copies after its intent is written: so after a copy's own intent, look at that of the source.
    """
    source = record.source
    if source is None:
        return ""
    found: Snapshot | Volume | GroupSnapshot
    try:
        if source.kind is SourceKind.SNAPSHOT:
            found = engine.store.get(Snapshot, source.id)
            if found.group_snapshot_id:  # a member's own record does not show the deletion of its group snapshot
                found = engine.store.get(GroupSnapshot, found.group_snapshot_id)
        else:
            found = engine.store.get(Volume, source.id)
    except NotFound:
        return f"{source.kind} {source.id!r} was deleted meanwhile"
    gone = found.status in (Status.DELETING, Status.DELETED)
    return f"{source.kind} {source.id!r} is being deleted" if gone else ""


def _make(engine: Engine, work: Work, record: Volume, *, is_first: bool = False) -> Volume:
    work.volumes[record.id] = record
    work.attached[record.id] = ()
    made = engine.volume_object(work, record)
    if record.name_taken:
        _leave_file_alone(engine, work, record)
    try:
        update = _driver_create(engine, work, record, made)
        rows.update_volume(record, update)  # an answer that no record can hold is a failure, too
    except DriverError as error:
        if (is_first or record.name_taken) and faults.is_name_taken(error.__cause__ or error):
            raise engine.leave_alone(record, error) from error
        _undo(engine, work, made, error)
        raise
    faultpoints.reach("create-volume.driver-done")
    source_blank = blank_copies.is_blank(engine.store, record.source)

    def finished(current: Volume) -> Volume:
        engine.check_own(current, Status.CREATING)
        done = rows.update_volume(current, update)
        done = replace(done, blank=done.blank or source_blank, source_blank=source_blank)
        return replace(done, status=Status.AVAILABLE, unfinished=False, name_taken="", owner="", message="")

    try:
        return work.change_volume(record.id, finished)
    except (NotFound, StaleRecord) as error:
        work.volumes[record.id] = made_record = rows.update_volume(record, update)
        _undo(engine, work, engine.volume_object(work, made_record), error)
        raise StaleRecord("volume", record.id) from error


def _leave_file_alone(engine: Engine, work: Work, record: Volume) -> None:
    """Raises NameTaken when another volume's file would be overwritten, AlreadyExists when the file is that of a known volume."""
    driver = engine.ready_driver()
    if not shares.has_shares(driver):
        return
    work.volumes[record.id] = record
    name = engine.volume_object(work, record).name
    if path := engine.call(work, shares.find_file, driver, name):
        if not record.name_taken and engine.has(record):
            raise AlreadyExists("volume", record.id)
        raise engine.leave_alone(record, BackendError(engine.name, f"{path} exists"))


def _driver_create(engine: Engine, work: Work, record: Volume, made: Any) -> Mapping[str, Any]:
    driver = engine.ready_driver()
    if record.source is None:
        update = engine.ask(work, driver.create_volume, made)
    elif record.source.kind is SourceKind.SNAPSHOT:
        # Cinder's manager holds this lock, too, so that the snapshot is not deleted meanwhile.
        with engine.lock(f"{record.source.id}-delete_snapshot"):
            snapshot = engine.snapshot_object(work, work.snapshot(record.source.id))
            update = engine.ask(work, driver.create_volume_from_snapshot, made, snapshot)
    else:
        with engine.lock(f"{record.source.id}-delete_volume"):
            source = engine.volume_object(work, work.volume(record.source.id))
            update = engine.ask(work, driver.create_cloned_volume, made, source)
        if loading.clones_at_source_size(driver) and made.size > source.size:
            made.update(update)  # where the clone lies
            engine.call(work, driver.extend_volume, made, int(made.size))
    return update


def _undo(engine: Engine, work: Work, made: Any, error: DriverError) -> None:
    """Leave nothing of a failed creation, or a record that says what could not be undone."""
    record = work.volume(made.id)
    if engine.is_taken_over(record):
        return
    if record.name_taken:
        engine.leave(record, str(error))
        return
    try:
        engine.call_to_delete(work, engine.ready_driver().delete_volume, made, record)
    except DriverError as second:
        if not faults.is_missing(second.__cause__ or second, record):
            engine.leave(work.volume(made.id), f"{error}; cleaning up failed, too: {second}")
            return
    if not engine.leave_unanswered(record, error):
        engine.remove(record)


def delete(engine: Engine, record: Volume) -> bool:
    """Delete the volume and its record. Nobody may be attached, nothing may depend on it.

    Independent snapshots stay, and with them the record, as DELETED: it says where and what they are.

    Returns:
        Whether the volume was there still.
    """
    if record.status is Status.DELETED:
        engine.forget_deleted_volume(record.id)
        return False
    driver = engine.ready_driver()
    was = record
    if was.status is Status.AVAILABLE:  # a kill must leave no intent to delete a volume that is in use
        _refuse_attached(record, engine.attachments(record.id))
    with engine.lock(f"{record.id}-delete_volume"):
        try:
            record = engine.intend(record, Status.DELETING, unfinished=was.unfinished or was.status in _UNFINISHED)
        except NotFound:
            return False
        # The dependents are counted after the intent is visible: whoever adds one looks at the intent afterwards.
        work = engine.work(record)
        try:
            _refuse_dependents(engine, work, record)
        except InUse as error:
            engine.note_refusal(record, was, error, is_whole=_is_untouched(engine, was))
            raise
        except CorruptRecord:
            engine.give_back(record, was.status, was.message, owner=was.owner)
            raise
        faultpoints.reach("delete-volume.record-written")
        _driver_delete(engine, work, driver, record, was)
        faultpoints.reach("delete-volume.driver-done")
        was_there = _remove_record(engine, work.volume(record.id))
    lock_files.forget(engine.driver, volume_id=record.id)
    return was_there


def _remove_record(engine: Engine, record: Volume) -> bool:
    try:
        return engine.remove(record)
    except InUse:  # has snapshots
        change(engine.store, record, lambda one: replace(one, status=Status.DELETED, owner="", message=""))
        engine.forget_deleted_volume(record.id)  # the last snapshot may have gone meanwhile
        return True


def _refuse_dependents(engine: Engine, work: Work, record: Volume) -> None:
    engine.refuse_copies(record)
    engine.refuse_snapshots(record.id)
    _refuse_attached(record, work.attachments(record.id))


def _refuse_attached(record: Volume, attachments: Sequence[Attachment]) -> None:
    if attachments:
        raise InUse(f"volume {record.id!r} is attached to {', '.join(one.node_id for one in attachments)}")


def _is_untouched(engine: Engine, was: Volume) -> bool:
    """Whether no earlier deletion can have reached the driver.

    None has if there is a finished dependent: a deletion asks the driver only when it counted none after its intent was visible, and a
    dependent is not finished once that intent is. Independent snapshots are not counted.
    """
    if was.status is not Status.DELETING:
        return True
    finished = {"volume_id": was.id, "status": str(Status.AVAILABLE)}
    if engine.store.page(Attachment, limit=1, where=finished).records:
        return True
    counted = not loading.snapshots_are_independent(engine.driver)
    return counted and bool(engine.store.page(Snapshot, limit=1, where=finished).records)


def _driver_delete(engine: Engine, work: Work, driver: Any, record: Volume, was: Volume) -> None:
    doomed = engine.volume_object(work, record)
    if record.name_taken:
        engine.note_leftover(record, doomed.name, leftovers.why(record.name_taken))
        return
    try:
        if record.unfinished:  # never exported
            engine.call_to_delete(work, driver.delete_volume, doomed, record)
        else:
            _remove_export(engine, work, driver, doomed)
            if was.status is not Status.DELETING:  # else an earlier attempt may have removed it
                _note_missing_file(engine, work, record, doomed)
            engine.call(work, driver.delete_volume, doomed)
    except InUse as error:
        engine.note_refusal(work.volume(record.id), was, error, is_whole=was.status is not Status.DELETING)
        raise
    except DriverError as error:
        if faults.is_missing(error.__cause__ or error, record):
            engine.note_missing(record, was, doomed.name, error)
            return
        engine.note(work.volume(record.id), Status.DELETING, str(error))
        raise


def _note_missing_file(engine: Engine, work: Work, record: Volume, doomed: Any) -> None:
    driver = engine.ready_driver()
    if shares.deletes_by_rm(driver) and engine.call(work, shares.misses_file, driver, doomed):
        engine.note_leftover(record, doomed.name, "its file was not found on its share when it was deleted")


def _remove_export(engine: Engine, work: Work, driver: Any, doomed: Any) -> None:
    """An export without a mapping or target to find is gone. Whether the volume is, only its deletion tells."""
    try:
        engine.call(work, driver.remove_export, engine.context, doomed)
    except DriverError as error:
        if not faults.is_not_found(error.__cause__ or error):
            raise
        _log.warning("volume %s has no export on back end %s: %s", doomed.id, engine.name, error)


def extend(engine: Engine, record: Volume, size: GiB) -> Volume:
    """Grow the volume to `size`; smaller or equal does nothing.

    An answered error is a failure. After one, and after a call that was never answered, the back end is looked at first: drivers that
    grow by a difference would add it again.
    """
    driver = engine.ready_driver()
    resumed = record.status is Status.EXTENDING
    if record.status not in (Status.AVAILABLE, Status.EXTENDING):
        raise PreconditionFailed(f"volume {record.id!r} is {record.status}")
    if size <= record.size and not resumed:
        return record
    engine.check_room()
    tried = record.target_size
    size = max(size, tried or size) if resumed else size
    record = engine.intend(record, Status.EXTENDING, target_size=size)
    faultpoints.reach("expand.record-written")
    work = engine.work(record)
    doubt = "" if tried is None else _look(engine, work, driver, record)
    if work.volume(record.id).size < size:
        _driver_extend(engine, work, driver, record.id, size, doubt)
    faultpoints.reach("expand.driver-done")

    def finished(current: Volume) -> Volume:
        engine.check_own(current, Status.EXTENDING)
        grown = max(size, current.size)
        return replace(current, status=Status.AVAILABLE, size=grown, target_size=None, owner="", message="")

    return work.change_volume(record.id, finished)


def _look(engine: Engine, work: Work, driver: Any, record: Volume) -> str:
    """Correct the record's size to the one on the back end. Why that could not be looked at, or ""."""
    try:
        size = _size_on_back_end(engine, work, driver, record)
    except DriverError as error:
        _log.info("the size of volume %s: %s", record.id, error)
        return f"; an earlier attempt may have succeeded, and its size could not be looked at: {error}"
    work.change_volume(record.id, lambda one: replace(one, size=size))
    return ""


def _size_on_back_end(engine: Engine, work: Work, driver: Any, record: Volume) -> GiB:
    """By the id that the back end assigned if it did, else by name: the only way that Cinder's drivers have in common."""
    volume = engine.volume_object(work, record)
    references = [{"source-name": volume.name}]
    if assigned := record.provider.id or record.provider.location:
        references.insert(0, {"source-id": assigned})
    failure: DriverError = Unsupported("it cannot be referred to")
    for reference in references:
        try:
            answer = engine.call(work, driver.manage_existing_get_size, volume, reference)
        except DriverError as error:
            failure = error
            continue
        if isinstance(answer, int) and answer >= record.size:
            return GiB(answer)
        failure = BackendError(engine.name, f"the driver answered {answer!r} as the size of {reference}")
    raise failure


def _driver_extend(engine: Engine, work: Work, driver: Any, id: str, size: GiB, doubt: str) -> None:
    try:
        engine.call(work, driver.extend_volume, engine.volume_object(work, work.volume(id)), int(size))
    except DriverError as error:
        if not _target_only(error):
            engine.give_back(work.volume(id), Status.AVAILABLE, f"extend failed: {error}{doubt}")
            if doubt and isinstance(error, BackendError):
                raise type(error)(error.backend, f"{error.message}{doubt}") from error
            raise
        _log.warning("volume %s: %s", id, error)


def _target_only(error: DriverError) -> bool:
    """The volume grew, only its iSCSI target was not told: the next connection will see it (so does Cinder's manager).

    Only lvm.py raises this type, after the volume has grown.
    """
    return type(error.__cause__).__name__ == "TargetUpdateFailed"
