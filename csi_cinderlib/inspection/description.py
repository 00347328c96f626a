"""One object with its related objects, as `csi-cinderlib describe` prints it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any

from csi_cinderlib.errors import CorruptRecord, InvalidRequest, NotFound
from csi_cinderlib.inspection import lists, rows
from csi_cinderlib.inspection.rows import Row
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Record, Snapshot, SourceKind, Status, Volume
from csi_cinderlib.observe import redact
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk

KINDS: Mapping[str, type[Record]] = {
    "volume": Volume,
    "snapshot": Snapshot,
    "group": Group,
    "group-snapshot": GroupSnapshot,
    "attachment": Attachment,
}
"""Record types that can be described, by their names on the command line."""

_GIB = ("size", "target_size")

_LISTS = {
    Volume: lists.volumes,
    Snapshot: lists.snapshots,
    Group: lists.groups,
    GroupSnapshot: lists.group_snapshots,
    Attachment: lists.attachments,
}


@dataclass(frozen=True, slots=True)
class Description:
    """One object.

    Attributes:
        fields: the object's fields without secrets, in print order.
        related: related objects by title.
    """

    kind: str
    fields: Row
    related: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def as_row(self) -> Row:
        return {
            "kind": self.kind,
            **self.fields,
            "related": {title: list(found) for title, found in self.related.items()},
        }


def matching(store: Store, kind: type[Record], word: str, now: datetime) -> list[Row]:
    """Rows that match a word: the row with exactly that id, otherwise those with an id prefix, name or claim equal to it."""
    with suppress(NotFound, CorruptRecord, InvalidRequest):  # the usual case: an id needs no scan of all records
        record: Any = store.get(kind, word)  # type: ignore[type-var]  # mypy cannot bind R to a union
        return [{"id": record.id}]
    listed = list(_LISTS[kind](store, lists.Filter(words=(word,)), now))
    exact = [row for row in listed if row["id"] == word]
    return exact or listed


def describe(store: Store, kind: Any, id: str, now: datetime) -> Description:
    """Raises NotFound or CorruptRecord."""
    record: Any = store.get(kind, id)
    word = next(word for word, candidate in KINDS.items() if candidate is kind)
    shown = {"status": "", **plain(record)}
    if isinstance(record, Volume | Snapshot):
        shown["array_name"] = rows.array_name(record)
    if age := rows.age(record.created_at, now):
        shown["age"] = age
    return Description(word, shown, {title: found for title, found in _related(store, record, now) if found})


def plain(record: Any) -> Row:
    """All fields as plain data without secrets. Drivers' own data is redacted by key."""
    shown: Row = {}
    for item in fields(record):
        if item.metadata.get("secret") or item.name == "unknown":
            continue
        name = f"{item.name}_gib" if item.name in _GIB else item.name
        shown[name] = _plain(getattr(record, item.name))
    return redact.mapping(shown)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value


def _related(store: Store, record: Record, now: datetime) -> Iterator[tuple[str, list[Row]]]:
    if isinstance(record, Volume):
        attached = walk(store, Attachment, {"volume_id": record.id})
        yield "attachments", [rows.attachment_row(attachment, "", now) for attachment in attached]
        taken = walk(store, Snapshot, {"volume_id": record.id})
        yield "snapshots", [rows.snapshot_row(snapshot, now) for snapshot in taken]
        yield "source", _source(store, record, now)
        yield "copies", _copies(store, SourceKind.VOLUME, record.id, now)
        yield "group", _found(store, Group, record.group_id, now)
    elif isinstance(record, Snapshot):
        yield "volume", _found(store, Volume, record.volume_id, now)
        yield "copies", _copies(store, SourceKind.SNAPSHOT, record.id, now)
        yield "group snapshot", _found(store, GroupSnapshot, record.group_snapshot_id, now)
    elif isinstance(record, Attachment):
        yield "volume", _found(store, Volume, record.volume_id, now)
    elif isinstance(record, Group):
        yield "volumes", [row for id in record.volume_ids for row in _found(store, Volume, id, now)]
    elif isinstance(record, GroupSnapshot):
        yield "snapshots", [row for id in record.snapshot_ids for row in _found(store, Snapshot, id, now)]
        yield "group", _found(store, Group, record.group_id, now)


def _source(store: Store, volume: Volume, now: datetime) -> list[Row]:
    if volume.source is None:
        return []
    kind = Volume if volume.source.kind is SourceKind.VOLUME else Snapshot
    return _found(store, kind, volume.source.id, now)


def _copies(store: Store, kind: SourceKind, id: str, now: datetime) -> list[Row]:
    """Volumes created from this source, according to their records."""
    return [
        rows.volume_row(record, (), now)
        for record in walk(store, Volume)
        if record.source is not None and (record.source.kind, record.source.id) == (kind, id)
        if record.status is not Status.DELETED
    ]


def _found(store: Store, kind: Any, id: str, now: datetime) -> list[Row]:
    """The row of one record. For a missing or unreadable record, the row only has the id and that status."""
    if not id:
        return []
    try:
        record = store.get(kind, id)
    except NotFound:
        return [{"id": id, "status": "gone"}]
    except CorruptRecord:
        return [rows.unreadable_row(id, ())]
    return [rows.volume_row(record, (), now) if kind is Volume else _ROWS[kind](record, now)]


_ROWS: Mapping[Any, Any] = {
    Snapshot: rows.snapshot_row,
    Group: rows.group_row,
    GroupSnapshot: rows.group_snapshot_row,
}
