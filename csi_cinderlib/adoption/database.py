"""The content of cinderlib's database, from its rows. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from csi_cinderlib.adoption import mapping
from csi_cinderlib.adoption.found import Found
from csi_cinderlib.adoption.volume_types import Types, pairs
from csi_cinderlib.errors import InvalidRequest, Problem
from csi_cinderlib.model.records import Attachment, Snapshot, Volume

Row = Mapping[str, Any]
Tables = Mapping[str, tuple[Row, ...]]
"""Rows by table."""

KEY_VALUES = "cinderlib_persistence_key_value"
_GROUPED = {"volumes": ("group_id", "consistencygroup_id"), "snapshots": ("group_snapshot_id", "cgsnapshot_id")}


def content(tables: Tables) -> Found:
    """All records and problems."""
    found = Found()
    _volumes(found, tables)
    _snapshots(found, tables)
    _attachments(found, tables)
    found.note_messages()
    for row in _alive(found, tables, "driver_initiator_data"):
        if data := found.attempt("driver_initiator_data", str(row["id"]), partial(mapping.initiator_data, row)):
            found.initiator_data[data.id] = data
    for row in tables.get(KEY_VALUES, ()):
        if kept := found.attempt(KEY_VALUES, repr(row["key"]), partial(mapping.key_value, row["key"], row["value"])):
            found.key_values[kept.id] = kept
    return found


def _volumes(found: Found, tables: Tables) -> None:
    types = Types.of(
        *(tables.get(name, ()) for name in ("volume_types", "volume_type_extra_specs", "quality_of_service_specs"))
    )
    metadata = pairs(tables.get("volume_metadata", ()), "volume_id")
    admin = pairs(tables.get("volume_admin_metadata", ()), "volume_id")
    for row in _alive(found, tables, "volumes"):
        id = str(row["id"])
        kind, notes = types.find(row)
        columns = {**row, "metadata": metadata.get(id, {}), "admin_metadata": admin.get(id, {})}
        if volume := found.attempt("volumes", id, partial(_volume, columns, kind)):
            found.volumes[id] = volume
            for note in notes:
                found.note(volume, note)


def _volume(columns: Row, kind: Any) -> Volume:
    _refuse_groups("volumes", columns)
    return mapping.volume_record(columns, kind)


def _snapshots(found: Found, tables: Tables) -> None:
    metadata = pairs(tables.get("snapshot_metadata", ()), "snapshot_id")
    for row in _alive(found, tables, "snapshots"):
        id = str(row["id"])
        columns = {**row, "metadata": metadata.get(id, {})}
        if snapshot := found.attempt("snapshots", id, partial(_snapshot, found, columns)):
            found.snapshots[id] = snapshot


def _snapshot(found: Found, columns: Row) -> Snapshot:
    _refuse_groups("snapshots", columns)
    return mapping.snapshot_record(columns, volume_of(found, columns).backend)


def _attachments(found: Found, tables: Tables) -> None:
    for row in _alive(found, tables, "volume_attachment"):
        id = str(row["id"])
        if attachment := found.attempt("volume_attachment", id, partial(_attachment, found, row)):
            found.attachments[id] = attachment
    mark_attached(found)


def _attachment(found: Found, row: Row) -> Attachment:
    return mapping.attachment_record(row, volume_of(found, row).backend, block=True)


def volume_of(found: Found, columns: Row) -> Volume:
    """The volume that a row belongs to. Raises InvalidRequest."""
    id = str(columns.get("volume_id") or "")
    if id not in found.volumes:
        raise InvalidRequest("volume_id", f"volume {id!r} does not exist, is deleted, or has a problem itself")
    return found.volumes[id]


def mark_attached(found: Found) -> None:
    """Set the marks of attached volumes."""
    by_volume: dict[str, list[Attachment]] = defaultdict(list)
    for attachment in found.attachments.values():
        by_volume[attachment.volume_id].append(attachment)
    for id, attachments in by_volume.items():
        found.volumes[id] = mapping.attached(found.volumes[id], attachments)


def _alive(found: Found, tables: Tables, name: str) -> Iterator[Row]:
    """The rows of a table that are not deleted; cinderlib keeps deleted ones with `soft_deletes`."""
    for row in _ordered(tables.get(name, ())):
        if row.get("deleted") or row.get("status") == "deleted":
            found.deleted[name] += 1
        else:
            yield row


def _ordered(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row["id"]))


def _refuse_groups(table: str, columns: Row) -> None:
    for name in _GROUPED[table]:
        if columns.get(name):
            raise InvalidRequest(name, "groups of Cinder cannot be adopted")


def foreign(tables: Tables) -> Problem | None:
    """The reason why these are not cinderlib's tables, by key and problem."""
    if tables.get("services"):
        return Problem(
            "services", "has rows, so this is the database of an OpenStack Cinder; only cinderlib's can be adopted"
        )
    return None
