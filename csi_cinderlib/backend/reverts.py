"""Bringing a volume back to one of its snapshots."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.backend.work import Work
from csi_cinderlib.errors import InUse, OperationPending, PreconditionFailed
from csi_cinderlib.model.records import Snapshot, Status, Volume

_guard = threading.Lock()
_running: set[tuple[str, str]] = set()
"""Owner and volume of each revert that runs in this process; its mark on a record may outlast it when the store fails."""


def is_running(engine: Engine, volume: Volume) -> bool:
    """Whether a revert is at work on an AVAILABLE volume, in this process or in another living one."""
    if volume.owner == engine.owner:
        return (volume.owner, volume.id) in _running
    return engine.is_alive(volume.owner)


def revert(engine: Engine, record: Volume, snapshot: Snapshot) -> Volume:
    """Bring the volume back to its snapshot's content. The status stays AVAILABLE: an interrupted revert is simply repeated.

    Meanwhile the record names this process as its owner, so that no other one attaches the volume or changes it.
    """
    engine.ready_driver()
    if record.status is not Status.AVAILABLE or snapshot.status is not Status.AVAILABLE:
        raise PreconditionFailed(
            f"volume {record.id!r} is {record.status}, snapshot {snapshot.id!r} is {snapshot.status}"
        )
    if snapshot.volume_id != record.id or snapshot.size != record.size:
        raise PreconditionFailed(f"snapshot {snapshot.id!r} is not one of volume {record.id!r} at its present size")
    engine.check_room()
    engine.claim(record)
    with _alone(engine, record):
        return _revert(engine, record, snapshot)


def _revert(engine: Engine, record: Volume, snapshot: Snapshot) -> Volume:
    driver = engine.ready_driver()
    work = engine.work(record)
    message = record.message
    record = work.change_volume(record.id, lambda one: _begun(engine, one, snapshot))
    try:
        # Counted after the intent is visible: whoever attaches looks at the intent afterwards.
        _refuse_attached(work, record)
        message = record.message  # also when the driver fails: nobody knows what it has done
        volume = engine.volume_object(work, record)
        taken = engine.snapshot_object(work, snapshot, volume)
        engine.call(work, driver.revert_to_snapshot, engine.context, volume, taken)
    except BaseException:
        engine.give_back(work.volume(record.id), record.status, message)
        raise
    return work.change_volume(record.id, lambda one: replace(one, owner="", message=""))


def _refuse_attached(work: Work, record: Volume) -> None:
    if work.attachments(record.id):
        raise InUse(f"volume {record.id!r} is attached")


@contextmanager
def _alone(engine: Engine, record: Volume) -> Iterator[None]:
    key = (engine.owner, record.id)
    with _guard:
        if key in _running:
            raise OperationPending(f"volume {record.id!r} is being reverted")
        _running.add(key)
    try:
        yield
    finally:
        _running.discard(key)


def _begun(engine: Engine, current: Volume, snapshot: Snapshot) -> Volume:
    engine.claim(current)
    if current.status is not Status.AVAILABLE:
        raise PreconditionFailed(f"volume {current.id!r} is {current.status}")
    return replace(current, owner=engine.owner, message=f"being reverted to {snapshot.id}")
