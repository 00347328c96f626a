"""Bringing a volume back to one of its snapshots."""

from __future__ import annotations

from dataclasses import replace

from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.errors import InUse, PreconditionFailed
from csi_cinderlib.model.records import Snapshot, Status, Volume


def revert(engine: Engine, record: Volume, snapshot: Snapshot) -> Volume:
    """Bring the volume back to its snapshot's content. The status stays AVAILABLE: an interrupted revert is simply repeated.

    Meanwhile the record names this process as its owner, so that no other one attaches the volume or changes it.
    """
    driver = engine.ready_driver()
    if record.status is not Status.AVAILABLE or snapshot.status is not Status.AVAILABLE:
        raise PreconditionFailed(
            f"volume {record.id!r} is {record.status}, snapshot {snapshot.id!r} is {snapshot.status}"
        )
    if snapshot.volume_id != record.id or snapshot.size != record.size:
        raise PreconditionFailed(f"snapshot {snapshot.id!r} is not one of volume {record.id!r} at its present size")
    engine.check_room()
    engine.claim(record)
    work = engine.work(record)
    message = record.message
    record = work.change_volume(record.id, lambda one: _begun(engine, one, snapshot))
    try:
        # Counted after the intent is visible: whoever attaches looks at the intent afterwards.
        if work.attachments(record.id):
            raise InUse(f"volume {record.id!r} is attached")
        message = record.message  # also when the driver fails: nobody knows what it has done
        volume = engine.volume_object(work, record)
        taken = engine.snapshot_object(work, snapshot, volume)
        engine.call(work, driver.revert_to_snapshot, engine.context, volume, taken)
        message = ""
    finally:
        record = work.change_volume(record.id, lambda one: replace(one, owner="", message=message))
    return record


def _begun(engine: Engine, current: Volume, snapshot: Snapshot) -> Volume:
    engine.claim(current)
    if current.status is not Status.AVAILABLE:
        raise PreconditionFailed(f"volume {current.id!r} is {current.status}")
    return replace(current, owner=engine.owner, message=f"being reverted to {snapshot.id}")
