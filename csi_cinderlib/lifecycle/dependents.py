"""The objects that depend on a volume or snapshot. They refuse its deletion.

A deletion looks for them after its intent is stored: a call that adds a dependent checks the intent after storing its own, so at least
one of both sees the other. All of them are read at once, which is one round trip to a database server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from csi_cinderlib.errors import CorruptRecord, InUse, NotFound
from csi_cinderlib.lifecycle.ledger import GRACE, UNFINISHED, Ledger, noun
from csi_cinderlib.model import times
from csi_cinderlib.model.records import FOREIGN, Attachment, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence import together
from csi_cinderlib.persistence.api import Page, Selection, Store
from csi_cinderlib.persistence.iteration import all_of

_UNFINISHED = (*UNFINISHED, *FOREIGN, Status.IMPORTING, Status.UNMANAGING)


@dataclass(frozen=True, slots=True)
class Origin:
    """The volume of a snapshot to delete, and its attachments."""

    volume: Volume
    attachments: tuple[Attachment, ...]


def refuse_early(store: Store, record: Volume, *, has_no_snapshots: bool) -> None:
    """Refuse before the intent is stored: a crash must not leave an intent to delete an attached volume.

    Args:
        has_no_snapshots: also refuse a volume with snapshots, even if they could outlive it.

    Raises:
        InUse: the volume is attached or has snapshots.
        CorruptRecord: an attachment cannot be read.
    """
    if not has_no_snapshots:
        if record.status is Status.AVAILABLE:
            _refuse_attached(record, all_of(store, Attachment, {"volume_id": record.id}))
        return
    attached = _attachments(record)
    snapshots, attachments = together.read(store, _snapshots(record), attached)
    _refuse_any(record, snapshots)
    if record.status is Status.AVAILABLE:
        _refuse_attached(record, together.all_from(store, attached, attachments))


def refuse_for_volume(ledger: Ledger, record: Volume, *, independent: bool) -> None:
    """Refuse the deletion of a volume.

    Args:
        independent: the snapshots of this back end do not depend on their volume.

    Raises:
        InUse: the volume is attached or being copied; or its deletion would lose a snapshot or interrupt its creation.
        CorruptRecord: this is not known.
    """
    store, copies, attached = ledger.store, _copies(ledger), _attachments(record)
    snapshots = Selection(Snapshot, {"volume_id": record.id}) if independent else _snapshots(record)
    pages = together.read(store, copies, snapshots, attached)
    _refuse_copies(together.all_from(store, copies, pages[0]), record)
    if independent:
        _refuse_unfinished(store, record, together.all_from(store, snapshots, pages[1]))
    else:
        _refuse_any(record, pages[1])
    _refuse_attached(record, together.all_from(store, attached, pages[2]))


def refuse_for_snapshot(ledger: Ledger, record: Snapshot) -> Origin | None:
    """Refuse the deletion of a snapshot. Raises the errors of `refuse_copies`.

    Returns:
        What the driver needs; None if it cannot be read.
    """
    store, copies = ledger.store, _copies(ledger)
    attached = Selection(Attachment, {"volume_id": record.volume_id})
    pages = together.read(store, copies, Selection(Volume, id=record.volume_id), attached)
    _refuse_copies(together.all_from(store, copies, pages[0]), record)
    with contextlib.suppress(CorruptRecord):
        for volume in pages[1].records:
            return Origin(volume, together.all_from(store, attached, pages[2]))
    return None


def refuse_copies(ledger: Ledger, *sources: Volume | Snapshot) -> None:
    """Refuse if a volume is being created from one of the sources, by any process. A copy is on the back end of its source.

    Raises:
        InUse: a copy is being created.
        CorruptRecord: a record cannot be read, so a copy may be in progress.
    """
    copies = _copies(ledger)
    (page,) = together.read(ledger.store, copies)
    _refuse_copies(together.all_from(ledger.store, copies, page), *sources)


def _refuse_attached(record: Volume, attachments: Sequence[Attachment]) -> None:
    """Raises InUse if there is an attachment."""
    if attachments:
        nodes = ", ".join(attachment.node_id for attachment in attachments)
        raise InUse(f"volume {record.id!r} is attached to {nodes}")


def _copies(ledger: Ledger) -> Selection[Volume]:
    """The volumes that are being created."""
    return Selection(Volume, {"status": str(Status.CREATING), "backend": ledger.name})


def _snapshots(record: Volume) -> Selection[Snapshot]:
    """Whether there is one."""
    return Selection(Snapshot, {"volume_id": record.id}, limit=1)


def _attachments(record: Volume) -> Selection[Attachment]:
    return Selection(Attachment, {"volume_id": record.id})


def _refuse_any(record: Volume, snapshots: Page[Snapshot]) -> None:
    if snapshots.records or snapshots.corrupt:
        raise InUse(f"volume {record.id!r} has snapshots; delete them first")


def _refuse_unfinished(store: Store, record: Volume, snapshots: Sequence[Snapshot]) -> None:
    for snapshot in snapshots:
        if snapshot.status in _UNFINISHED or _is_unfinished_group(store, snapshot.group_snapshot_id):
            raise InUse(
                f"snapshot {snapshot.id!r} of volume {record.id!r} is still being created, imported, adopted or given up"
            )


def _is_unfinished_group(store: Store, id: str) -> bool:
    """Whether a retry may take the group snapshot, with all its members, again."""
    try:
        return bool(id) and store.get(GroupSnapshot, id).status in UNFINISHED
    except NotFound:
        return False


def _refuse_copies(creating: Sequence[Volume], *sources: Volume | Snapshot) -> None:
    kinds = {source.id: noun(source) for source in sources}
    for volume in creating:
        if volume.source is not None and (kind := kinds.get(volume.source.id)):
            raise InUse(
                f"{kind} {volume.source.id!r} is the source of volume {volume.id!r}, which is being created"
                + _until(volume)
            )


def _until(volume: Volume) -> str:
    """The time after which an unfinished creation no longer blocks its source."""
    with contextlib.suppress(ValueError):
        end = times.stamp(times.parse(volume.created_at) + GRACE)
        return f" since {volume.created_at}; an interrupted creation is undone after {end}"
    return ""
