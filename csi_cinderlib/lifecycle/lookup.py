"""Lookup of records by id, and checks that their objects can be used or copied."""

from __future__ import annotations

from csi_cinderlib.errors import CorruptRecord, NotFound, OperationPending, PreconditionFailed
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.persistence.api import R, Store


def find(store: Store, kind: type[R], id: str) -> R | None:
    """Return the record, or None if it does not exist. Raises CorruptRecord."""
    try:
        return store.get(kind, id)
    except NotFound:
        return None


def get_volume(store: Store, id: str) -> Volume:
    """Return the volume. Raises NotFound, even for a DELETED volume whose record is kept for its snapshots."""
    volume = store.get(Volume, id)
    if volume.status is Status.DELETED:
        raise NotFound("volume", id)
    return volume


def check_whole(volume: Volume) -> None:
    """Raises PreconditionFailed unless the volume is completely created and usable."""
    if volume.status not in (Status.AVAILABLE, Status.EXTENDING):
        raise PreconditionFailed(_describe("volume", volume.id, volume))


def get_source(store: Store, source: Source) -> Volume | Snapshot:
    """Return the source of a new volume. Raises the errors of `check_copyable`."""
    if source.kind is SourceKind.VOLUME:
        return get_source_volume(store, source.id)
    snapshot = store.get(Snapshot, source.id)
    check_copyable("snapshot", snapshot.id, snapshot)
    if snapshot.group_snapshot_id:  # the member record does not show the state of its group snapshot
        group = find(store, GroupSnapshot, snapshot.group_snapshot_id)
        if group is None:
            raise NotFound("snapshot", snapshot.id)
        check_copyable("snapshot", snapshot.id, group)
    return snapshot


def get_source_volume(store: Store, id: str) -> Volume:
    """Return a volume to clone or to snapshot. Raises the errors of `check_copyable`."""
    volume = store.get(Volume, id)
    check_copyable("volume", id, volume)
    return volume


def check_copyable(kind: str, id: str, record: Volume | Snapshot | GroupSnapshot) -> None:
    """Check that the volume or snapshot of this record can be copied.

    Raises:
        NotFound: it is deleted or being deleted (spec: CreateVolume, "Source does not exist").
        OperationPending: another operation on it is in progress (spec: general errors, "Operation pending for volume").
        PreconditionFailed: its creation failed.
    """
    if record.status is Status.DELETED:
        raise NotFound(kind, id)
    if record.status is Status.DELETING:
        raise NotFound(kind, id, "is being deleted")
    if record.status is Status.ERROR:
        raise PreconditionFailed(_describe(kind, id, record))
    if record.status is not Status.AVAILABLE:
        raise OperationPending(f"{kind} {id!r} is {record.status}")


def _describe(kind: str, id: str, record: Volume | Snapshot | GroupSnapshot) -> str:
    return f"{kind} {id!r} is {record.status}" + (f": {record.message}" if record.message else "")


def is_blank(store: Store, source: Source) -> bool:
    """Whether the source of a finished copy is proven to be empty. Returns False in doubt.

    The "never formatted" mark is removed from a volume before a node can write to it, and is restored only if no node could write.
    A source that has the mark after the copy was therefore empty during the copy. The mark before the copy would not prove this.

    Raises:
        StoreUnavailable: the store did not respond.
    """
    try:
        if source.kind is SourceKind.SNAPSHOT:
            return store.get(Snapshot, source.id).blank
        return store.get(Volume, source.id).blank
    except (NotFound, CorruptRecord):
        return False
