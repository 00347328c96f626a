"""The metadata of a set-up as objects: `Backend.persistence`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinderlib import checks, presence
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.persistence import key_values, objects
from csi_cinderlib.cinderlib.persistence.adapter import PluginStore
from csi_cinderlib.cinderlib.persistence.base import PersistenceDriverBase
from csi_cinderlib.cinderlib.persistence.key_values import KeyValue
from csi_cinderlib.cinderlib.persistence.remainder import R
from csi_cinderlib.cinderlib.persistence.tables import Table
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.errors import AlreadyExists, InvalidRequest, NotFound
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.optimistic import change

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library


def serve(library: Library) -> None:
    """Let a persistence plugin create objects of this set-up. Call it when the set-up has opened a store."""
    store = library.store.current
    if isinstance(store, PluginStore):
        store.serve(library)


class Persistence(PersistenceDriverBase):
    """The metadata of one set-up, as objects. Other attributes are those of the persistence plugin, if the store is one."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library

    if TYPE_CHECKING:
        volumes: Mapping[str, Volume]
        """With a store in memory: by id."""
        snapshots: Mapping[str, Snapshot]
        connections: Mapping[str, Connection]
        key_values: Mapping[str, KeyValue]
        fake_db: Any
    else:

        def __getattr__(self, name: str) -> Any:
            """Attributes of a plugin; for a store in memory the dictionaries of cinderlib's."""
            store = vars(self)["_library"].store.current if "_library" in vars(self) else None
            if name.startswith("_") or store is None:
                raise AttributeError(name)
            if name in _TABLES and not store.traits.durable:
                return self._table(name)
            if isinstance(store, PluginStore):
                return getattr(store.plugin, name)
            if name == "fake_db" and not store.traits.durable:
                return self.db
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _table(self, name: str) -> Table:
        kind, key = name.removesuffix("s"), "key" if name == "key_values" else "id"
        items = ((getattr(item, key), item) for item in getattr(self, f"get_{name}")())
        dependents = [self._table("snapshots")] if name == "volumes" else []
        return Table(items, getattr(self, f"set_{kind}"), getattr(self, f"delete_{kind}"), dependents)

    def record(self, kind: type[R], data: Mapping[str, object], backend: str) -> R:
        """The record of a stored object, from the fields of Cinder's object as JSON values. Not part of cinderlib."""
        return objects.record_from_fields(kind, data, backend)

    @property
    def db(self) -> Any:
        """The replacement of Cinder's database in this process."""
        from csi_cinderlib.cinder.runtime import served

        return served()

    def get_volumes(
        self, volume_id: str | None = None, volume_name: str | None = None, backend_name: str | None = None
    ) -> list[Volume]:
        given = {"volume_id": volume_id, "volume_name": volume_name, "backend_name": backend_name}
        volume_id, volume_name, backend_name = _texts(given)
        where = {key: value for key, value in (("name", volume_name), ("backend", backend_name)) if value}
        if volume_id:
            matching = _matching(self._library.store, records.Volume, volume_id, where)
            volumes = [self._library.handles.volume(volume) for volume in matching]
        else:
            volumes = self._library.handles.find_volumes(where)
        return [volume for volume in volumes if volume._record.status is not records.Status.DELETED]

    def get_snapshots(
        self, snapshot_id: str | None = None, snapshot_name: str | None = None, volume_id: str | None = None
    ) -> list[Snapshot]:
        given = {"snapshot_id": snapshot_id, "snapshot_name": snapshot_name, "volume_id": volume_id}
        snapshot_id, snapshot_name, volume_id = _texts(given)
        where = {key: value for key, value in (("name", snapshot_name), ("volume_id", volume_id)) if value}
        snapshots = _matching(self._library.store, records.Snapshot, snapshot_id, where)
        return [self._library.handles.snapshot(snapshot) for snapshot in snapshots]

    def get_connections(self, connection_id: str | None = None, volume_id: str | None = None) -> list[Connection]:
        connection_id, volume_id = _texts({"connection_id": connection_id, "volume_id": volume_id})
        where = {"volume_id": volume_id} if volume_id else {}
        attachments = _matching(self._library.store, Attachment, connection_id, where)
        return [self._library.handles.connection(attachment) for attachment in attachments]

    def get_key_values(self, key: Any = None) -> list[KeyValue]:
        """The key-value of that key, or without a key all."""
        wanted = None if key in (None, "") else str(key)
        found = _matching(self._library.store, records.KeyValue, wanted, {})
        return [key_values.from_record(item) for item in found if not _is_own(item.id)]

    def set_volume(self, volume: Volume) -> None:
        checks.check_object("volume", volume, records.Volume)
        volume.save()

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Store the snapshot, and first its volume if that is new."""
        checks.check_object("snapshot", snapshot, records.Snapshot)
        _store_volume(snapshot)
        snapshot.save()

    def set_connection(self, connection: Connection) -> None:
        """Store the connection, and first its volume if that is new."""
        checks.check_object("connection", connection, Attachment)
        _store_volume(connection)
        connection.save()

    def set_key_value(self, key_value: KeyValue) -> None:
        """Store a key-value, or replace the one of that key.

        Raises:
            InvalidRequest: the key is reserved for this program, or the key or the value is not a JSON value.
        """
        _refuse_own(key_value)
        store = self._library.store
        wanted = key_values.to_record(key_value)
        try:
            store.add(wanted)
        except AlreadyExists:
            known = store.get(records.KeyValue, wanted.id)
            change(store, known, lambda current: replace(current, value=wanted.value))

    def delete_volume(self, volume: Volume) -> None:
        """Remove the record only, not the object on the storage."""
        checks.check_object("volume", volume, records.Volume)
        self._forget(volume._record)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Remove the record only, not the object on the storage."""
        checks.check_object("snapshot", snapshot, records.Snapshot)
        self._forget(snapshot._record)

    def delete_connection(self, connection: Connection) -> None:
        """Remove the record only, not the object on the storage."""
        checks.check_object("connection", connection, Attachment)
        self._forget(connection._record)

    def delete_key_value(self, key_value: KeyValue) -> None:
        """Raises InvalidRequest: the key is reserved for this program."""
        _refuse_own(key_value)
        self._forget(records.KeyValue(id=str(key_value.key), value=""))

    def _forget(self, record: Any) -> None:
        store = self._library.store
        try:
            store.remove(store.get(type(record), record.id))
        except NotFound:
            return


def _store_volume(item: Snapshot | Connection) -> None:
    volume = item._volume
    if volume is not None and not volume._record.revision:
        volume.save()


_TABLES = ("volumes", "snapshots", "connections", "key_values")


def _is_own(key: str) -> bool:
    return key.startswith(records.OWN_KEYS) or presence.is_sign(key)


def _texts(given: Mapping[str, object]) -> tuple[str | None, ...]:
    """The values of arguments, by name. Raises InvalidRequest."""
    return tuple(checks.optional_text(name, value) for name, value in given.items())


def _refuse_own(key_value: KeyValue) -> None:
    if not hasattr(key_value, "key") or not hasattr(key_value, "value"):
        checks.refuse("key_value", f"must be a KeyValue (got {key_value!r})")
    if str(key_value.key).startswith(records.OWN_KEYS):
        raise InvalidRequest("key", f"must not begin with {records.OWN_KEYS!r} (got {str(key_value.key)!r})")


def _matching(store: Store, kind: Any, id: str | None, where: Mapping[str, str]) -> list[Any]:
    if not id:
        return list(walk(store, kind, where))
    try:
        record = store.get(kind, id)
    except NotFound:
        return []
    return [record] if all(getattr(record, key) == value for key, value in where.items()) else []
