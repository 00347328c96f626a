"""The metadata stores of the library: by our plugin names, by cinderlib's names, or any `Store`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinderlib import presence
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.exception import InvalidPersistence
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.config.reader import Reader
from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import AlreadyExists, ConfigurationError, InvalidRequest, NotFound
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.persistence import plugins
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.optimistic import change
from csi_cinderlib.sealing import Sealer

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

DEFAULT_STORAGE = "memory"
_DATABASE_OPTIONS = frozenset({"sqlite_synchronous", "soft_deletes"})
"""Options of cinderlib's `db`, accepted without effect: writes are always synced, deletions always hard."""

_IN_MEMORY = frozenset({"", "/", "/:memory:"})
"""The part after `sqlite://` of a database without a file, as for cinderlib's `memory_db`."""


class KeyValue:
    """A named value for users of the library."""

    def __init__(self, key: str | None = None, value: str | None = None) -> None:
        self.key = key
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyValue) and (self.key, self.value) == (other.key, other.value)

    def __hash__(self) -> int:
        return hash((self.key, self.value))

    def __repr__(self) -> str:
        return f"<cinderlib.KeyValue {self.key}>"


def open_store(config: Mapping[str, Any] | None, state_dir: Path, *, is_named: bool) -> Store:
    """Open the store of `persistence_config`.

    Args:
        config: `storage` (a plugin's name, a class or an instance) and its options; for a name also `sealing_keys`.
        is_named: whether the program has set `state_dir`.

    Raises:
        InvalidPersistence: the storage does not exist.
        ConfigurationError, StoreUnavailable: from the plugin.
    """
    options = dict(config or {})
    storage = options.pop("storage", None) or DEFAULT_STORAGE
    if isinstance(storage, Store) and not isinstance(storage, type):
        return storage
    if isinstance(storage, type):
        store = storage(**options)
        if not isinstance(store, Store):
            raise InvalidPersistence(storage)
        return store
    if not isinstance(storage, str):
        raise InvalidPersistence(storage)
    name, options = _named(storage, options)
    if name not in plugins.known():
        raise InvalidPersistence(storage)
    sealer = _sealer(options.pop("sealing_keys", None))
    if name == "sql" and not options.get("url") and not is_named:
        raise ConfigurationError(
            "persistence_config.url", "is missing; set it, or set `state_dir` to use an SQLite file there"
        )
    return plugins.open_store(name, options, state_dir=state_dir, sealer=sealer)


def _sealer(keys: object) -> Sealer | None:
    """A sealer with the keys, given as a list of `{id, key}` as in the configuration of the CSI driver.

    Raises:
        ConfigurationError: the value has another form.
    """
    if not keys:
        return None
    listed = list(keys) if isinstance(keys, tuple) else keys
    return Sealer(Reader({}).read(tuple[SealingKey, ...], listed, "persistence_config.sealing_keys"))  # type: ignore[arg-type]  # the type of the hint


def _named(storage: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate cinderlib's name and options to ours."""
    if storage == "memory_db":
        kept = {key: value for key, value in options.items() if key == "sealing_keys"}
        return "memory", kept
    if storage != "db":
        return storage, dict(options)
    rest = {key: value for key, value in options.items() if key not in _DATABASE_OPTIONS}
    connection = str(rest.pop("connection", ""))
    if not connection:
        raise ConfigurationError("persistence_config.connection", "must be set to a database URL")
    dialect, colon, where = connection.partition("://")
    dialect = dialect.partition("+")[0]
    if dialect == "sqlite" and where in _IN_MEMORY:
        return "memory", rest
    return "sql", {**rest, "url": f"{dialect}{colon}{where}"}


class Persistence:
    """The metadata of one set-up, as handles."""

    def __init__(self, library: Library) -> None:
        self._library = library

    @property
    def db(self) -> Any:
        """The replacement of Cinder's database in this process."""
        from csi_cinderlib.cinder.runtime import served

        return served()

    def get_volumes(
        self, volume_id: str | None = None, volume_name: str | None = None, backend_name: str | None = None
    ) -> list[Volume]:
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
        where = {key: value for key, value in (("name", snapshot_name), ("volume_id", volume_id)) if value}
        snapshots = _matching(self._library.store, records.Snapshot, snapshot_id, where)
        return [self._library.handles.snapshot(snapshot) for snapshot in snapshots]

    def get_connections(self, connection_id: str | None = None, volume_id: str | None = None) -> list[Connection]:
        where = {"volume_id": volume_id} if volume_id else {}
        attachments = _matching(self._library.store, Attachment, connection_id, where)
        return [self._library.handles.connection(attachment) for attachment in attachments]

    def get_key_values(self, key: str | None = None) -> list[KeyValue]:
        key_values = _matching(self._library.store, records.KeyValue, key, {})
        return [KeyValue(item.id, item.value) for item in key_values if not _is_own(item.id)]

    def set_volume(self, volume: Volume) -> None:
        volume.save()

    def set_snapshot(self, snapshot: Snapshot) -> None:
        snapshot.save()

    def set_connection(self, connection: Connection) -> None:
        connection.save()

    def set_key_value(self, key_value: KeyValue) -> None:
        """Raises InvalidRequest: the key is reserved for this program."""
        _refuse_own(key_value)
        store = self._library.store
        wanted = records.KeyValue(id=str(key_value.key), value=str(key_value.value))
        try:
            store.add(wanted)
        except AlreadyExists:
            known = store.get(records.KeyValue, wanted.id)
            change(
                store,
                known,
                lambda current: records.KeyValue(id=current.id, value=wanted.value, revision=current.revision),
            )

    def delete_volume(self, volume: Volume) -> None:
        """Remove the record only, not the object on the storage."""
        self._forget(volume._record)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Remove the record only, not the object on the storage."""
        self._forget(snapshot._record)

    def delete_connection(self, connection: Connection) -> None:
        """Remove the record only, not the object on the storage."""
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


def _is_own(key: str) -> bool:
    return key.startswith(records.OWN_KEYS) or presence.is_sign(key)


def _refuse_own(key_value: KeyValue) -> None:
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
