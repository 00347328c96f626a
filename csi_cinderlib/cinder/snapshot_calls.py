"""Driver calls for snapshots."""

from __future__ import annotations

from contextlib import nullcontext

from csi_cinderlib.backend.columns import update_snapshot
from csi_cinderlib.backend.verbs import Attachments, Columns, Outcome
from csi_cinderlib.cinder import answers, lock_files
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model.records import Snapshot, Volume


def create(engine: Engine, snapshot: Snapshot, volume: Volume, attachments: Attachments) -> Columns:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    created = engine.snapshot_object(work, snapshot)
    with answers.told_by_name(), answers.ids_kept(work, snapshot, created):
        update = engine.ask(work, driver.create_snapshot, created)
        update_snapshot(snapshot, update)  # fails if a record cannot store the result
    return answers.plain(update)


def name(engine: Engine, snapshot: Snapshot) -> str:
    return str(engine.snapshot_object(engine.work(), snapshot).name)


def delete(engine: Engine, work: Work, snapshot: Snapshot, *, unfinished: bool) -> Outcome:
    driver = engine.ready_driver()
    doomed = engine.snapshot_object(work, snapshot)
    doomed.missed_id = False
    # An unfinished object has no copies to wait for, and a full disk has no room for a lock file.
    with nullcontext() if unfinished else engine.lock(f"{snapshot.id}-delete_snapshot"):
        try:
            engine.call(work, driver.delete_snapshot, doomed)
        except DriverError as error:
            outcome = answers.failed_deletion(doomed, snapshot, error, unfinished=unfinished)
        else:
            outcome = Outcome(name=doomed.name, out_of_reach=unfinished and doomed.missed_id)
    if outcome.failure is None:
        lock_files.forget(driver, snapshot_id=snapshot.id)
    return outcome
