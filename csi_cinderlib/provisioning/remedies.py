"""Remedies for each kind of orphan, by the driver or by an operator."""

from __future__ import annotations

from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume

RESTORE = "Restore its record from an export."
NODE_GONE = (
    "If the node is gone for good, delete its Node object, or taint it with node.kubernetes.io/out-of-service; "
    "Kubernetes then detaches the volume."
)
COMPARE = "Compare the volumes and snapshots of each array with the records, then run `csi-cinderlib orphans forget restored`."
ADOPTION = "Repeat `csi-cinderlib adopt cinder` with its plan and --apply or --rollback."


def fix(record: Volume | Snapshot | GroupSnapshot | Attachment) -> str:
    """What `finish` does, as an imperative."""
    if isinstance(record, Attachment):
        return "disconnect it"
    if record.status in (Status.IMPORTING, Status.UNMANAGING):
        return "undo the import" if record.status is Status.IMPORTING else "finish undoing the import"
    if record.status is Status.EXTENDING:
        return "finish the extension"
    return "finish the deletion" if record.status is Status.DELETING else "undo the creation"


def look(id: str) -> str:
    """For an object that may not belong to this installation, or that its driver cannot reach."""
    return f"Look for it on the back end, then run `csi-cinderlib orphans forget {id}`."


def of_group(group_snapshot: str) -> str:
    return f"It is part of group snapshot {group_snapshot!r}; fix the group snapshot."
