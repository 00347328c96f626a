"""The content of cinderlib's database, from its rows. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

from csi_cinderlib.adoption import mapping
from csi_cinderlib.adoption.found import Found
from csi_cinderlib.adoption.rows import KEY_VALUES, Row, Tables, check, label
from csi_cinderlib.adoption.volume_types import Types, pairs
from csi_cinderlib.errors import InvalidRequest, Problem
from csi_cinderlib.model.records import Attachment, Snapshot, Volume


def content(tables: Tables) -> Found:
    """All records and problems."""
    found = Found()
    tables = {name: _readable(found, name, rows) for name, rows in tables.items()}
    _volumes(found, tables)
    _snapshots(found, tables)
    _attachments(found, tables)
    found.note_messages()
    for row in _alive(found, tables, "driver_initiator_data"):
        found.keep("driver_initiator_data", label(row), found.initiator_data, partial(mapping.initiator_data, row))
    for row in tables.get(KEY_VALUES, ()):
        found.keep(KEY_VALUES, label(row), found.key_values, partial(mapping.key_value, row["key"], row["value"]))
    return found


def _readable(found: Found, name: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows without those whose values would be misread, which become problems."""

    def checked(row: Row) -> Row:
        check(row)
        return row

    attempts = (found.attempt(name, label(row), partial(checked, row)) for row in rows)
    return tuple(row for row in attempts if row is not None)


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
        if volume := found.keep("volumes", id, found.volumes, partial(mapping.volume_record, columns, kind)):
            for note in notes:
                found.note(volume, note)


def _snapshots(found: Found, tables: Tables) -> None:
    metadata = pairs(tables.get("snapshot_metadata", ()), "snapshot_id")
    for row in _alive(found, tables, "snapshots"):
        id = str(row["id"])
        columns = {**row, "metadata": metadata.get(id, {})}
        if not found.keep("snapshots", id, found.snapshots, partial(_snapshot, found, columns)):
            _note_missing(found, row, "one of its snapshots is left out")


def _snapshot(found: Found, columns: Row) -> Snapshot:
    return mapping.snapshot_record(columns, volume_of(found, columns).backend)


def _attachments(found: Found, tables: Tables) -> None:
    for row in _alive(found, tables, "volume_attachment"):
        if not found.keep("volume_attachment", str(row["id"]), found.attachments, partial(_attachment, found, row)):
            _note_missing(found, row, "one of its connections is left out, so it may be in use")
    mark_attached(found)


def _note_missing(found: Found, row: Row, clause: str) -> None:
    if volume := found.volumes.get(str(row.get("volume_id") or "")):
        found.note(volume, clause)


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


def foreign(tables: Tables) -> Problem | None:
    """The reason why these are not cinderlib's tables, by key and problem."""
    if tables.get("services"):
        return Problem(
            "services", "has rows, so this is the database of an OpenStack Cinder; use `csi-cinderlib adopt cinder`"
        )
    return None
