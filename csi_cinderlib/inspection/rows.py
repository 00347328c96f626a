"""Records as rows: all public fields under stable names. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import labels, nodes, times
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Node, Snapshot, Status, Volume

Row = dict[str, Any]

UNREADABLE = "unreadable"
"""The status of a record that cannot be read."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def age(created_at: str, now: datetime) -> str:
    """The age as kubectl shows it: `42s`, `7m`, `3h`, `12d`; "" if unknown."""
    try:
        seconds = max(0, int((now - times.parse(created_at)).total_seconds()))
    except ValueError:
        return ""
    return next((f"{seconds // size}{unit}" for size, unit in _UNITS if seconds >= size), f"{seconds}s")


def array_name(record: Volume | Snapshot) -> str:
    """Name of the object on the back end, unless the driver's options set another template."""
    if record.imported and (record.imported.static or record.status is Status.IMPORTING):
        return record.imported.name
    kind = "volume" if isinstance(record, Volume) else "snapshot"
    return f"{kind}-{record.fields.get('_name_id') or record.fields.get('name_id') or record.id}"


def node_name(attachment: Attachment) -> str:
    """The node's name. An id may contain connector properties instead of the name."""
    with suppress(InvalidRequest):
        return nodes.shown(attachment.node_id, attachment.connector or nodes.decode(attachment.node_id) or {})
    return attachment.node_id


def volume_row(volume: Volume, attachments: Sequence[Attachment], now: datetime) -> Row:
    return {
        "id": volume.id,
        "claim": labels.claim(volume.labels),
        "gib": int(volume.size),
        "status": volume.status.value,
        "backend": volume.backend,
        "pool": volume.pool,
        "nodes": [node_name(attachment) for attachment in attachments],
        "age": age(volume.created_at, now),
        "message": volume.message,
        "name": volume.name,
        "type": volume.type.name if volume.type else "",
        "source": f"{volume.source.kind.value} {volume.source.id}" if volume.source else "",
        "array_name": array_name(volume),
        "array_id": volume.provider.id or volume.provider.location or "",
        "created_at": volume.created_at,
        "owner": volume.owner,
        "attachments": [_brief_attachment(attachment) for attachment in attachments],
        "labels": dict(volume.labels),
        "parameters": dict(volume.parameters),
    }


def _brief_attachment(attachment: Attachment) -> Row:
    return {
        "id": attachment.id,
        "node": node_name(attachment),
        "status": attachment.status.value,
        "read_only": attachment.read_only,
        "created_at": attachment.created_at,
        "message": attachment.message,
    }


def snapshot_row(snapshot: Snapshot, now: datetime) -> Row:
    return {
        "id": snapshot.id,
        "claim": labels.claim(snapshot.labels),
        "volume": snapshot.volume_id,
        "gib": int(snapshot.size),
        "status": snapshot.status.value,
        "backend": snapshot.backend,
        "age": age(snapshot.created_at, now),
        "message": snapshot.message,
        "name": snapshot.name,
        "group_snapshot": snapshot.group_snapshot_id,
        "array_name": array_name(snapshot),
        "array_id": snapshot.provider.id or snapshot.provider.location or "",
        "created_at": snapshot.created_at,
        "owner": snapshot.owner,
        "labels": dict(snapshot.labels),
        "parameters": dict(snapshot.parameters),
    }


def group_row(group: Group, now: datetime) -> Row:
    return {
        "id": group.id,
        "status": group.status.value,
        "backend": group.backend,
        "volumes": list(group.volume_ids),
        "consistent": group.consistent,
        "age": age(group.created_at, now),
        "message": "",
        "name": group.name,
        "created_at": group.created_at,
        "owner": group.owner,
    }


def group_snapshot_row(snapshot: GroupSnapshot, now: datetime) -> Row:
    return {
        "id": snapshot.id,
        "status": snapshot.status.value,
        "backend": snapshot.backend,
        "snapshots": list(snapshot.snapshot_ids),
        "volumes": list(snapshot.volume_ids),
        "age": age(snapshot.created_at, now),
        "message": snapshot.message,
        "name": snapshot.name,
        "group": snapshot.group_id,
        "created_at": snapshot.created_at,
        "owner": snapshot.owner,
    }


def attachment_row(attachment: Attachment, claim: str, now: datetime) -> Row:
    return {
        "id": attachment.id,
        "volume": attachment.volume_id,
        "claim": claim,
        "node": node_name(attachment),
        "status": attachment.status.value,
        "backend": attachment.backend,
        "protocol": str(attachment.connection_info.get("driver_volume_type", "")),
        "age": age(attachment.created_at, now),
        "message": attachment.message,
        "access_mode": attachment.access_mode.value,
        "read_only": attachment.read_only,
        "block": attachment.block,
        "created_at": attachment.created_at,
        "owner": attachment.owner,
    }


def node_row(id: str, connector: Mapping[str, object], attachments: int, registered: Node | None) -> Row:
    """The row of a node.

    Args:
        registered: None for a node that is only known from its attachments.
    """
    return {
        "id": id,
        "host": str(connector.get("host") or id),
        "ip": str(connector.get("ip") or ""),
        "iscsi": str(connector.get("initiator") or ""),
        "fibre_channel": _texts(connector.get("wwpns")),
        "nvme": str(connector.get("nqn") or ""),
        "multipath": bool(connector.get("multipath")),
        "attachments": attachments,
        "registered": "in its id" if nodes.is_carrying(id) else "yes" if registered is not None else "no",
        "has_key": bool(registered and registered.public_key),
        "topology": dict(registered.topology) if registered else {},
    }


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list | tuple) else []


def unreadable_row(id: str, columns: Iterable[str]) -> Row:
    """A row with all columns, for a record that cannot be read."""
    return {**dict.fromkeys(columns, ""), "id": id, "status": UNREADABLE, "message": "its record cannot be read"}


def is_troubled(row: Mapping[str, Any]) -> bool:
    """Whether the object failed, for the option `--error`."""
    if row.get("status") in (Status.ERROR, UNREADABLE) or row.get("message") or row.get("reason"):
        return True
    return any(is_troubled(attachment) for attachment in _dicts(row.get("attachments")))


def _dicts(values: object) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
