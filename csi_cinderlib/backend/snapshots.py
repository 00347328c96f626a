"""Snapshots, also of attached volumes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import blank_copies, faults, leftovers, loading, lock_files, rows
from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.backend.work import Work
from csi_cinderlib.errors import (
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
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Status, Volume

_log = logging.getLogger(__name__)


def create(engine: Engine, record: Snapshot) -> Snapshot:
    """Write the record down, take the snapshot, and write down what the driver said.

    Raises:
        Unsupported: after a snapshot this driver's volume could not be attached any more.
    """
    _check_driver(engine)
    engine.check_room()
    work = engine.work()
    _check_volume(work.volume(record.volume_id))
    work.attachments(
        record.volume_id
    )  # the driver is told of them: one that cannot be read ends it before anything is begun
    record = replace(record, status=Status.CREATING, owner=engine.owner, created_at=record.created_at or engine.now())
    record = engine.store.add(record)
    faultpoints.reach("create-snapshot.record-written")
    if _is_doomed(engine, work, record.volume_id):
        engine.remove_snapshot(record)
        raise PreconditionFailed(f"volume {record.volume_id!r} is being deleted")
    return _make(engine, work, record, is_first=True)


def resume(engine: Engine, record: Snapshot) -> Snapshot:
    """Finish a creation that ended in the middle: undo what may be there, and take it anew."""
    if record.status is Status.AVAILABLE:
        return record
    if record.status not in (Status.CREATING, Status.ERROR):
        raise PreconditionFailed(f"snapshot {record.id!r} is {record.status}: its creation cannot be resumed")
    leftovers.refuse_restored("snapshot", record.id, record.name_taken)
    engine.check_room()
    driver = engine.ready_driver()
    record = engine.intend(record, Status.CREATING)
    work = engine.work()
    if _is_doomed(engine, work, record.volume_id):
        problem = f"volume {record.volume_id!r} is being deleted"
        engine.note(record, Status.ERROR, problem, owner="")  # what an earlier attempt left may still be there
        raise PreconditionFailed(problem)
    if record.name_taken:  # what is there is not this snapshot's; perhaps it is gone by now
        return _make(engine, work, record)
    try:
        engine.call_to_delete(work, driver.delete_snapshot, engine.snapshot_object(work, record), record)
    except (BackendUnavailable, StoreUnavailable):
        raise
    except DriverError as error:
        # Most likely there was nothing to delete. If something is there, taking it again fails, and says so.
        _log.info("clean-up before taking snapshot %s again: %s", record.id, error)
    return _make(engine, work, work.snapshot(record.id))


def _check_driver(engine: Engine) -> None:
    if not loading.takes_snapshots(engine.ready_driver()):
        raise Unsupported(
            f"back end {engine.name!r} cannot take snapshots: its driver would put a qcow2 file over the volume's "
            "own, and the kernel attaches raw files only"
        )


def _is_doomed(engine: Engine, work: Work, volume_id: str) -> bool:
    """Whether the volume is being deleted, once a snapshot's intent is visible.

    A deletion counts the snapshots after its own intent is written: so after a snapshot's intent, look at that of the volume.
    """
    current = work.volumes[volume_id] = engine.store.get(Volume, volume_id)
    return current.status in (Status.DELETING, Status.DELETED)


def _check_volume(volume: Volume) -> None:
    if volume.status in (Status.CREATING, Status.DELETING, Status.DELETED, Status.ERROR):
        raise PreconditionFailed(f"volume {volume.id!r} is {volume.status}")


def _make(engine: Engine, work: Work, record: Snapshot, *, is_first: bool = False) -> Snapshot:
    made = engine.snapshot_object(work, record)
    try:
        update = engine.ask(work, engine.ready_driver().create_snapshot, made)
        rows.update_snapshot(record, update)  # an answer that no record can hold is a failure, too
    except DriverError as error:
        if (is_first or record.name_taken) and faults.is_name_taken(error.__cause__ or error):
            raise engine.leave_alone(record, error) from error
        _undo(engine, work, made, error)
        raise
    faultpoints.reach("create-snapshot.driver-done")
    blank = blank_copies.is_blank(engine.store, Source(SourceKind.VOLUME, record.volume_id))

    def finished(current: Snapshot) -> Snapshot:
        engine.check_own(current, Status.CREATING)
        done = replace(rows.update_snapshot(current, update), blank=blank)
        return replace(done, status=Status.AVAILABLE, unfinished=False, name_taken="", owner="", message="")

    try:
        return work.change_snapshot(record.id, finished)
    except (NotFound, StaleRecord) as error:
        _undo(engine, work, engine.snapshot_object(work, rows.update_snapshot(record, update)), error)
        raise StaleRecord("snapshot", record.id) from error


def _undo(engine: Engine, work: Work, made: Any, error: DriverError) -> None:
    """Leave nothing of a failed snapshot, or a record that says what could not be undone."""
    record = work.snapshot(made.id)
    if engine.is_taken_over(record):
        return
    if record.name_taken:
        engine.leave(record, str(error))
        return
    try:
        engine.call_to_delete(work, engine.ready_driver().delete_snapshot, made, record)
    except DriverError as second:
        if not faults.is_missing(second.__cause__ or second, work.snapshot(made.id)):
            engine.leave(work.snapshot(made.id), f"{error}; cleaning up failed, too: {second}")
            return
    if not engine.leave_unanswered(record, error):
        engine.remove_snapshot(work.snapshot(made.id))


def delete(engine: Engine, record: Snapshot) -> None:
    """Delete the snapshot and its record."""
    driver = engine.ready_driver()
    was = record
    with engine.lock(f"{record.id}-delete_snapshot"):
        try:
            unfinished = record.unfinished or record.status in (Status.CREATING, Status.ERROR)
            record = engine.intend(record, Status.DELETING, unfinished=unfinished)
        except NotFound:
            return
        faultpoints.reach("delete-snapshot.record-written")
        work = engine.work()
        _refuse_copies(engine, record, was)
        try:
            doomed = engine.snapshot_object(work, record)
            _driver_delete(engine, work, driver, record, doomed)
        except InUse as error:
            engine.note_refusal(work.snapshot(record.id), was, error, is_whole=was.status is not Status.DELETING)
            raise
        except DriverError as error:
            if not faults.is_missing(error.__cause__ or error, record):
                engine.note(work.snapshot(record.id), Status.DELETING, str(error))
                raise
            engine.note_missing(record, was, doomed.name, error)
        faultpoints.reach("delete-snapshot.driver-done")
        engine.remove_snapshot(work.snapshot(record.id))
    lock_files.forget(engine.driver, snapshot_id=record.id)


def _refuse_copies(engine: Engine, record: Snapshot, was: Snapshot) -> None:
    """Look for copies that are being made, once the intent to delete is visible; it is taken back if there are any."""
    try:
        engine.refuse_copies(record)
    except InUse as error:
        engine.note_refusal(record, was, error, is_whole=was.status is not Status.DELETING)
        raise
    except CorruptRecord:
        engine.give_back(record, was.status, was.message, owner=was.owner)
        raise


def _driver_delete(engine: Engine, work: Work, driver: Any, record: Snapshot, doomed: Any) -> None:
    if record.name_taken:
        engine.note_leftover(record, doomed.name, leftovers.why(record.name_taken))
    elif record.unfinished:
        engine.call_to_delete(work, driver.delete_snapshot, doomed, record)
    else:
        engine.call(work, driver.delete_snapshot, doomed)
