"""Driver calls for volumes: create, delete, extend, revert."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from csi_cinderlib.backend.columns import update_volume
from csi_cinderlib.backend.verbs import Attachments, Columns, Outcome
from csi_cinderlib.cinder import answers, faults, loading, lock_files, shares
from csi_cinderlib.cinder.engine import Engine
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.errors import BackendError, DriverError, Unsupported
from csi_cinderlib.model.records import Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


def create(engine: Engine, volume: Volume, source: Snapshot | Volume | None) -> Columns:
    engine.ready_driver()
    work = engine.work(volume, attachments=())
    created = engine.volume_object(work, volume)
    with answers.told_by_name(), answers.ids_kept(work, volume, created):
        if source is None:
            update = engine.ask(work, engine.driver.create_volume, created)
        elif isinstance(source, Snapshot):
            update = _restore(engine, work, created, source)
        else:
            update = _clone(engine, work, created, source)
        update_volume(volume, update)  # fails if a record cannot store the result
    return answers.plain(update)


def _restore(engine: Engine, work: Work, created: Any, source: Snapshot) -> Mapping[str, Any]:
    # As in Cinder's manager, the lock prevents the deletion of the snapshot in the meantime.
    with engine.lock(f"{source.id}-delete_snapshot"):
        snapshot = engine.snapshot_object(work, source)
        return engine.ask(work, engine.driver.create_volume_from_snapshot, created, snapshot)


def _clone(engine: Engine, work: Work, created: Any, source: Volume) -> Mapping[str, Any]:
    driver = engine.driver
    with engine.lock(f"{source.id}-delete_volume"):
        work.volumes[source.id] = source
        original = engine.volume_object(work, source)
        if at_source := loading.clones_at_source_size(driver):
            engine.call_quietly(work, shares.place, created, original.provider_location)
        update = engine.ask(work, driver.create_cloned_volume, created, original)
    if at_source and created.size > original.size:
        created.update(update)  # includes the clone's location
        engine.call(work, driver.extend_volume, created, int(created.size))
    return update


def find_file(engine: Engine, volume: Volume) -> str:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=())
    path = engine.call(work, shares.find_file, driver, engine.volume_object(work, volume).name)
    return str(path or "")


def misses_file(engine: Engine, volume: Volume) -> bool:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=())
    return bool(engine.call(work, shares.misses_file, driver, engine.volume_object(work, volume)))


def name(engine: Engine, volume: Volume) -> str:
    return str(engine.volume_object(engine.work(volume, attachments=()), volume).name)


def delete(engine: Engine, volume: Volume, *, unfinished: bool) -> Outcome:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=())
    doomed = engine.volume_object(work, volume)
    doomed.missed_id = False
    # An unfinished object has no copies to wait for, and a full disk has no room for a lock file.
    with nullcontext() if unfinished else engine.lock(f"{volume.id}-delete_volume"):
        try:
            if not unfinished:
                drop_export(engine, work, driver, doomed)
            engine.call(work, driver.delete_volume, doomed)
        except DriverError as error:
            outcome = answers.failed_deletion(doomed, volume, error, unfinished=unfinished)
        else:
            outcome = Outcome(name=doomed.name, out_of_reach=unfinished and doomed.missed_id)
    if outcome.failure is None:
        lock_files.forget(driver, volume_id=volume.id)
    return outcome


def drop_export(engine: Engine, work: Work, driver: Any, doomed: Any) -> None:
    """Remove the export. "Not found" counts as removed; whether the volume exists is decided by its deletion."""
    try:
        engine.call(work, driver.remove_export, engine.context, doomed)
    except DriverError as error:
        if not faults.is_not_found(error.__cause__ or error):
            raise
        _log.warning("export already missing", volume=doomed.id, backend=engine.name, reason=str(error))


def size_of(engine: Engine, volume: Volume, attachments: Attachments) -> GiB:
    """Looks up the size by the assigned id, if any, then by name, with the only method common to Cinder's drivers."""
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    subject = engine.volume_object(work, volume)
    references = [{"source-name": subject.name}]
    if assigned := volume.provider.id or volume.provider.location:
        references.insert(0, {"source-id": assigned})
    failure: DriverError = Unsupported("the volume cannot be referenced")
    if not hasattr(driver, "manage_existing_get_size"):
        raise Unsupported("the driver does not report the sizes of volumes")
    for reference in references:
        try:
            answer = engine.call(work, driver.manage_existing_get_size, subject, reference)
        except DriverError as error:
            failure = error
            continue
        if isinstance(answer, int) and answer >= volume.size:
            return GiB(answer)
        failure = BackendError(engine.name, f"the driver returned {answer!r} as the size of {reference}")
    raise failure


def extend(engine: Engine, volume: Volume, attachments: Attachments, size: GiB) -> None:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=attachments)
    try:
        engine.call(work, driver.extend_volume, engine.volume_object(work, volume), int(size))
    except DriverError as error:
        if not _target_only(error):
            raise
        _log.warning("iSCSI target not updated", volume=volume.id, backend=engine.name, reason=str(error))


def _target_only(error: DriverError) -> bool:
    """Whether the volume was extended but its iSCSI target not updated: the next connection shows the new size, as in Cinder.

    Only lvm.py raises this type, after it has extended the volume.
    """
    return type(error.__cause__).__name__ == "TargetUpdateFailed"


def revert(engine: Engine, volume: Volume, snapshot: Snapshot) -> None:
    driver = engine.ready_driver()
    work = engine.work(volume, attachments=())
    subject = engine.volume_object(work, volume)
    taken = engine.snapshot_object(work, snapshot, subject)
    engine.call(work, driver.revert_to_snapshot, engine.context, subject, taken)
