"""The entries in the list of orphans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeGuard

from csi_cinderlib.lifecycle import mutability
from csi_cinderlib.lifecycle.ledger import noun
from csi_cinderlib.model import labels, nodes
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume

Stuck = Volume | Snapshot | GroupSnapshot | Attachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One entry of the list.

    Attributes:
        kind: "volume", "snapshot", "group snapshot", "attachment", "leftover" or "store".
        claim: `namespace/name` of its claim or VolumeSnapshot.
        node: node of an attachment.
        volume_id: the volume of an attachment or a snapshot.
        created_at: time of creation.
        due: whether `settle` handles it now.
        reason: the problem, as a clause.
        fix: what `Orphans.fix` does, as an imperative; "" if the driver must not touch it.
        instead: what the operator should do in that case.
    """

    kind: str
    id: str
    name: str = ""
    claim: str = ""
    backend: str = ""
    node: str = ""
    volume_id: str = ""
    status: str = ""
    owner: str = ""
    created_at: str = ""
    due: bool = False
    reason: str
    fix: str = ""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The result for an orphan; `error` is "" on success."""

    orphan: Orphan
    error: str = ""


def entry(record: Stuck, reason: str, *, due: bool = False, fix: str = "", instead: str = "") -> Orphan:
    """The entry of a record."""
    attachment = record if isinstance(record, Attachment) else None
    return Orphan(
        kind=noun(record),
        id=record.id,
        name="" if isinstance(record, Attachment) else record.name,
        claim=labels.claim(record.labels) if isinstance(record, Volume | Snapshot) else "",
        backend=record.backend,
        node=nodes.shown(attachment.node_id, attachment.connector) if attachment else "",
        volume_id=record.volume_id if isinstance(record, Attachment | Snapshot) else "",
        status=str(record.status),
        owner=record.owner,
        created_at=record.created_at,
        due=due,
        reason=reason,
        fix=fix,
        instead=instead,
    )


def is_modifying(record: Stuck) -> TypeGuard[Volume]:
    """Whether it is a usable volume with a modification that has not ended."""
    return isinstance(record, Volume) and record.status is Status.AVAILABLE and mutability.is_modifying(record)


def modifying(record: Volume) -> Orphan:
    """The entry of a volume whose modification has not ended. Kubernetes repeats it, as long as its claim exists."""
    assert record.modification is not None
    reason = record.modification.message or "its modification was interrupted, or is in progress"
    found = entry(record, reason, fix="finish the modification, or undo it")
    return replace(found, status="modifying", created_at=record.modification.begun_at)
