"""Records by their ids: whether they are there, and whether what they describe can be copied."""

from __future__ import annotations

from csi_cinderlib.errors import CorruptRecord, NotFound, OperationPending, PreconditionFailed
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.persistence.api import R, Store


def find(store: Store, kind: type[R], id: str) -> R | None:
    """The record, or None where there is none. Raises CorruptRecord."""
    try:
        return store.get(kind, id)
    except NotFound:
        return None


def get_volume(store: Store, id: str) -> Volume:
    """The volume's record. Raises NotFound, also for a DELETED volume whose record is kept for its snapshots."""
    volume = store.get(Volume, id)
    if volume.status is Status.DELETED:
        raise NotFound("volume", id)
    return volume


def check_whole(volume: Volume) -> None:
    """That the volume was created and can be used. Raises PreconditionFailed."""
    if volume.status not in (Status.AVAILABLE, Status.EXTENDING):
        raise PreconditionFailed(_describe("volume", volume.id, volume))


def get_source(store: Store, source: Source) -> Volume | Snapshot:
    """What a volume is to be made from. Raises what `check_copyable` raises."""
    if source.kind is SourceKind.VOLUME:
        return get_source_volume(store, source.id)
    snapshot = store.get(Snapshot, source.id)
    check_copyable("snapshot", snapshot.id, snapshot)
    if snapshot.group_snapshot_id:  # a member's own record does not show what happens to its group snapshot
        group = find(store, GroupSnapshot, snapshot.group_snapshot_id)
        if group is None:
            raise NotFound("snapshot", snapshot.id)
        check_copyable("snapshot", snapshot.id, group)
    return snapshot


def get_source_volume(store: Store, id: str) -> Volume:
    """The volume that is to be cloned, or to have a snapshot taken. Raises what `check_copyable` raises."""
    volume = store.get(Volume, id)
    check_copyable("volume", id, volume)
    return volume


def check_copyable(kind: str, id: str, record: Volume | Snapshot | GroupSnapshot) -> None:
    """That a copy can be made of the volume or snapshot with this record.

    Raises:
        NotFound: it is deleted or being deleted (spec: CreateVolume, "Source does not exist").
        OperationPending: a call is at work on it (spec: general errors, "Operation pending for volume").
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
    """Whether a copy that the driver has finished is proven to be of an empty source. In doubt it is not.

    The "never formatted" mark leaves a volume before any node can write to it, and comes back only if no node could. A source that
    has the mark after it was copied was therefore empty when it was copied. To find the mark before the copy would prove nothing.

    Raises:
        StoreUnavailable.
    """
    try:
        if source.kind is SourceKind.SNAPSHOT:
            return store.get(Snapshot, source.id).blank
        return store.get(Volume, source.id).blank
    except (NotFound, CorruptRecord):
        return False
