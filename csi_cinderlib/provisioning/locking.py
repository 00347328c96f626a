"""The keys that calls hold. A volume's attachments have a key of their own, so that a slow clone or snapshot of a volume,
which holds the volume shared, never delays its being published."""

from __future__ import annotations

from csi_cinderlib.model.records import Source


def volume(id: str) -> str:
    return f"volume {id}"


def attachments(volume_id: str) -> str:
    return f"attachments of volume {volume_id}"


def snapshot(id: str) -> str:
    return f"snapshot {id}"


def group_snapshot(id: str) -> str:
    return f"group snapshot {id}"


def source(source: Source | None) -> list[str]:
    """What a volume is made from: read by many at once, deleted by nobody meanwhile."""
    return [f"{source.kind} {source.id}"] if source else []


def grouping(volume_id: str) -> str:
    """A volume is in one group at a time, so of two group snapshots that share a volume one waits."""
    return f"grouping of volume {volume_id}"
