"""Objects that a deletion must leave on the back end: those of other owners, and those that are used without managing them."""

from __future__ import annotations

from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.lifecycle.ledger import noun
from csi_cinderlib.model.records import FOREIGN, Snapshot, Status, Volume

_ADOPTION_REMEDY = "repeat `csi-cinderlib adopt cinder` with its plan and --apply or --rollback"


def refuse_deletion(record: Volume | Snapshot) -> None:
    """Raises PreconditionFailed while an object is taken over or given up: a deletion could reach an object of another owner."""
    _refuse_foreign(record)
    if record.status in (Status.IMPORTING, Status.UNMANAGING):
        kind = noun(record)
        raise PreconditionFailed(
            f"{kind} {record.id!r} is {record.status}; repeat or undo its import with `csi-cinderlib import-{kind}`"
        )


def _refuse_foreign(record: Volume | Snapshot) -> None:
    """Raises PreconditionFailed while the object belongs to an OpenStack Cinder."""
    if record.status in FOREIGN:
        raise PreconditionFailed(
            f"{noun(record)} {record.id!r} is {record.status}, so it belongs to OpenStack Cinder; {_ADOPTION_REMEDY}"
        )


def is_kept(record: Volume | Snapshot) -> bool:
    """Whether a deletion leaves the object on the back end."""
    return record.imported is not None and record.imported.static
