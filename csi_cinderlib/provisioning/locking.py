"""Lock keys of calls.

The attachments of a volume have their own key, so that a slow clone or snapshot, which holds the volume shared, never delays its
publication.
"""

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


def imports(backend: str) -> str:
    """One import at a time on a back end: two names may mean the same object."""
    return f"imports of back end {backend}"


def source(source: Source | None) -> list[str]:
    """The source of a volume. Many calls may read it at once; no call may delete it in the meantime."""
    return [f"{source.kind} {source.id}"] if source else []


def grouping(volume_id: str) -> str:
    """A volume is in one group at a time, so two group snapshots that share a volume cannot run at once."""
    return f"grouping of volume {volume_id}"
