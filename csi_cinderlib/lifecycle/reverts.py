"""Reverts a volume to one of its snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from csi_cinderlib.backend.verbs import Driver
from csi_cinderlib.concurrency import LateLock
from csi_cinderlib.errors import InUse, OperationPending, PreconditionFailed
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.lifecycle.room import Room
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.persistence.optimistic import change

_guard = LateLock()
_running: set[tuple[str, str]] = set()
"""Owner and volume of each revert running in this process. If the store fails, its mark on the record can remain afterwards."""


def is_running(ledger: Ledger, volume: Volume) -> bool:
    """Whether a revert of an AVAILABLE volume is in progress, in this or another running process."""
    if volume.owner == ledger.owner:
        return (volume.owner, volume.id) in _running
    return ledger.is_alive(volume.owner)


def revert(ledger: Ledger, driver: Driver, room: Room, record: Volume, snapshot: Snapshot) -> Volume:
    """Revert the volume to the content of the snapshot. The status stays AVAILABLE; an interrupted revert is repeated.

    During the revert this process is the owner of the record, so that no other process attaches or changes the volume. Its content is
    no longer that with which it was adopted, so it cannot be returned.
    """
    if record.status is not Status.AVAILABLE or snapshot.status is not Status.AVAILABLE:
        raise PreconditionFailed(
            f"cannot revert volume {record.id!r} ({record.status}) to snapshot {snapshot.id!r} ({snapshot.status}): "
            "both must be available"
        )
    if snapshot.volume_id != record.id or snapshot.size != record.size:
        raise PreconditionFailed(
            f"cannot revert volume {record.id!r} to snapshot {snapshot.id!r}: the snapshot is of another volume or size"
        )
    room.check()
    ledger.check_free(record)
    with _alone(ledger, record):
        return _revert(ledger, driver, record, snapshot)


def _revert(ledger: Ledger, driver: Driver, record: Volume, snapshot: Snapshot) -> Volume:
    message = record.message
    record = change(ledger.store, record, lambda current: _begun(ledger, current, snapshot))
    try:
        # Check after the intent is stored: an attach checks the intent after storing its own.
        _refuse_attached(ledger, record)
        message = record.message  # also if the driver fails: its effect is unknown
        driver.revert_volume(record, snapshot)
        return change(ledger.store, record, lambda current: replace(current, owner="", message=""))
    except BaseException:
        ledger.give_back(record, record.status, message)
        raise


def _refuse_attached(ledger: Ledger, record: Volume) -> None:
    if ledger.attachments(record.id):
        raise InUse(f"volume {record.id!r} is attached")


@contextmanager
def _alone(ledger: Ledger, record: Volume) -> Iterator[None]:
    key = (ledger.owner, record.id)
    with _guard:
        if key in _running:
            raise OperationPending(f"volume {record.id!r} is already being reverted")
        _running.add(key)
    try:
        yield
    finally:
        _running.discard(key)


def _begun(ledger: Ledger, current: Volume, snapshot: Snapshot) -> Volume:
    ledger.check_free(current)
    if current.status is not Status.AVAILABLE:
        raise PreconditionFailed(f"cannot revert volume {current.id!r}: it is {current.status}")
    imported = current.imported
    if imported is not None and not imported.static:
        imported = replace(imported, object_id="")  # the file driver replaces its file
    message = f"being reverted to {snapshot.id}"
    return replace(current, owner=ledger.owner, message=message, adoption="", imported=imported)
