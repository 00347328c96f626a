"""cinderlib's plugin with dictionaries, as a base class of other plugins. The storage `memory` is faster and does not use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from csi_cinderlib.cinderlib.persistence import base

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Connection, KeyValue, Snapshot, Volume

T = TypeVar("T")
V = TypeVar("V", "Snapshot", "Connection")


class MemoryPersistence(base.PersistenceDriverBase):
    """Keeps objects in dictionaries by id, and key-values by key. Each instance has its own."""

    durable: ClassVar[bool] = False
    volumes: dict[str, Volume]
    snapshots: dict[str, Snapshot]
    connections: dict[str, Connection]
    key_values: dict[Any, KeyValue]

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        # Here, because a subclass need not call `__init__`.
        plugin = super().__new__(cls)
        plugin.volumes, plugin.snapshots, plugin.connections, plugin.key_values = {}, {}, {}, {}
        return plugin

    def __init__(self) -> None:
        self.fake_db = base.DB(self)
        super().__init__()

    @property
    def db(self) -> Any:
        return self.fake_db

    def get_volumes(
        self, volume_id: str | None = None, volume_name: str | None = None, backend_name: str | None = None
    ) -> list[Volume]:
        found = _by_id(self.volumes, volume_id)
        if volume_name:
            found = [volume for volume in found if volume.display_name == volume_name]
        if backend_name:
            found = [volume for volume in found if _backend(volume) == backend_name]
        return found

    def get_snapshots(
        self, snapshot_id: str | None = None, snapshot_name: str | None = None, volume_id: str | None = None
    ) -> list[Snapshot]:
        found = _of_volume(_by_id(self.snapshots, snapshot_id), volume_id)
        if snapshot_name:
            found = [snapshot for snapshot in found if snapshot.display_name == snapshot_name]
        return found

    def get_connections(self, connection_id: str | None = None, volume_id: str | None = None) -> list[Connection]:
        return _of_volume(_by_id(self.connections, connection_id), volume_id)

    def get_key_values(self, key: Any = None) -> list[KeyValue]:
        return _by_id(self.key_values, key)

    def set_volume(self, volume: Volume) -> None:
        self.volumes[volume.id] = volume
        super().set_volume(volume)

    def set_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots[snapshot.id] = snapshot
        super().set_snapshot(snapshot)

    def set_connection(self, connection: Connection) -> None:
        self.connections[connection.id] = connection
        super().set_connection(connection)

    def set_key_value(self, key_value: KeyValue) -> None:
        self.key_values[key_value.key] = key_value

    def delete_volume(self, volume: Volume) -> None:
        self.volumes.pop(volume.id, None)
        super().delete_volume(volume)

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.pop(snapshot.id, None)
        super().delete_snapshot(snapshot)

    def delete_connection(self, connection: Connection) -> None:
        self.connections.pop(connection.id, None)
        super().delete_connection(connection)

    def delete_key_value(self, key_value: KeyValue) -> None:
        self.key_values.pop(key_value.key, None)


def _by_id(known: Mapping[Any, T], id: object) -> list[T]:
    if not id:
        return list(known.values())
    return [known[id]] if id in known else []


def _of_volume(found: list[V], volume_id: str | None) -> list[V]:
    return [item for item in found if item.volume_id == volume_id] if volume_id else found


def _backend(volume: Volume) -> str:
    return str(volume.host).partition("#")[0].rpartition("@")[2]
