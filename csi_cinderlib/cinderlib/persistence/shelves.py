"""Where a persistence plugin of cinderlib keeps each kind of record.

Volumes, snapshots and connections are its objects. Each key-value is one of its key-values. Other kinds, which cinderlib does not
have, are together in one key-value for each kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from csi_cinderlib.cinderlib.persistence import key_values, objects
from csi_cinderlib.cinderlib.persistence.base import PersistenceDriverBase
from csi_cinderlib.cinderlib.persistence.remainder import checksum
from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Record
from csi_cinderlib.persistence import codec

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

Listed = tuple[list[Any], list[str]]
"""Readable records, and the ids of unreadable ones."""


class Shelf(Protocol):
    """One kind of record in a plugin."""

    def read(self, id: str) -> Any:
        """The record, or None. Raises CorruptRecord."""

    def read_all(self, where: Mapping[str, str]) -> Listed:
        """All records; the plugin may omit those with other values than `where`."""

    def write(self, record: Any) -> Any:
        """Create or overwrite a record, and return it with its revision."""

    def erase(self, record: Any) -> None: ...


def shelves(library: Library, plugin: PersistenceDriverBase) -> Mapping[type[Record], Shelf]:
    """The shelves by kind."""
    return {
        records.Volume: _Objects(
            library,
            plugin.get_volumes,
            plugin.set_volume,
            plugin.delete_volume,
            "volume_id",
            {"name": "volume_name", "backend": "backend_name"},
        ),
        records.Snapshot: _Objects(
            library,
            plugin.get_snapshots,
            plugin.set_snapshot,
            plugin.delete_snapshot,
            "snapshot_id",
            {"name": "snapshot_name", "volume_id": "volume_id"},
        ),
        Attachment: _Objects(
            library,
            plugin.get_connections,
            plugin.set_connection,
            plugin.delete_connection,
            "connection_id",
            {"volume_id": "volume_id"},
        ),
        records.KeyValue: _KeyValues(plugin),
        **{
            kind: _Documents(kind, plugin)
            for kind in (records.Group, records.GroupSnapshot, records.InitiatorData, records.Node)
        },
    }


@dataclass(frozen=True, slots=True)
class _Objects:
    """The plugin's volumes, snapshots or connections.

    Attributes:
        id_name: the plugin's argument for the id.
        filters: its other arguments, by field of the record.
    """

    library: Library
    get: Callable[..., Iterable[Any]]
    set: Callable[[Any], None]
    delete: Callable[[Any], None]
    id_name: str
    filters: Mapping[str, str]

    def read(self, id: str) -> Any:
        handle = self._handle(id)
        return None if handle is None else objects.record_of(handle)

    def read_all(self, where: Mapping[str, str]) -> Listed:
        given = {self.filters[name]: value for name, value in where.items() if name in self.filters and value}
        found: list[Any] = []
        corrupt: list[str] = []
        for handle in filter(_exists, self.get(**given)):
            try:
                found.append(objects.record_of(handle))
            except CorruptRecord as error:
                corrupt.append(error.id)
        return found, corrupt

    def write(self, record: Any) -> Any:
        self.set(objects.handle_of(self.library, record, self._handle(record.id)))
        return record

    def erase(self, record: Any) -> None:
        if (handle := self._handle(record.id)) is not None:
            self.delete(handle)

    def _handle(self, id: str) -> Any:
        return next((handle for handle in self.get(**{self.id_name: id}) if handle.id == id and _exists(handle)), None)


def _exists(handle: Any) -> bool:
    """Whether the object is not deleted: a plugin may keep and return deleted objects, which the base class marks."""
    versioned = handle._object  # made by that mark at the latest
    is_marked = versioned is not None and versioned.obj_attr_is_set("deleted") and versioned.deleted
    return not (is_marked or handle._outcome == "deleted")


class _KeyValues:
    """The plugin's key-values. Their revisions are checksums."""

    def __init__(self, plugin: PersistenceDriverBase) -> None:
        self._plugin = plugin

    def read(self, id: str) -> Any:
        found = self._found(id)
        return None if found is None else _with_checksum(key_values.from_plugin(found))

    def read_all(self, where: Mapping[str, str]) -> Listed:  # noqa: ARG002  # required by the protocol
        return [_with_checksum(key_values.from_plugin(item)) for item in list(self._plugin.get_key_values(None))], []

    def write(self, record: Any) -> Any:
        self._plugin.set_key_value(key_values.for_plugin(record))
        return _with_checksum(record)

    def erase(self, record: Any) -> None:
        if (found := self._found(record.id)) is not None:
            self._plugin.delete_key_value(found)

    def _found(self, id: str) -> Any:
        return next((item for item in self._plugin.get_key_values(id) if str(item.key) == id), None)


class _Documents:
    """All records of a kind in one key-value, a JSON object of revision and body by id."""

    def __init__(self, kind: type[Record], plugin: PersistenceDriverBase) -> None:
        self._kind = kind
        self._rows = _KeyValues(plugin)
        self._key = records.OWN_KEYS + codec.kind_name(kind)

    def read(self, id: str) -> Any:
        rows = self._load()
        return self._record(id, rows[id]) if id in rows else None

    def read_all(self, where: Mapping[str, str]) -> Listed:  # noqa: ARG002  # required by the protocol
        return [self._record(id, row) for id, row in self._load().items()], []

    def write(self, record: Any) -> Any:
        self._save({**self._load(), record.id: [record.revision, codec.encode(record)]})
        return record

    def erase(self, record: Any) -> None:
        self._save({id: row for id, row in self._load().items() if id != record.id})

    def _record(self, id: str, row: list[Any]) -> Any:
        kind: Any = self._kind
        return codec.decode(kind, row[1], id=id, revision=row[0])

    def _load(self) -> dict[str, Any]:
        found = self._rows.read(self._key)
        rows: dict[str, Any] = json.loads(found.value) if found is not None else {}
        return rows

    def _save(self, rows: Mapping[str, Any]) -> None:
        document = records.KeyValue(id=self._key, value=json.dumps(rows))
        self._rows.write(document) if rows else self._rows.erase(document)


def _with_checksum(record: records.KeyValue) -> records.KeyValue:
    return replace(record, revision=checksum(record))
