"""Persistence plugins as users of cinderlib write them: one with JSON files, one with columns in SQLite, one in memory.

They know nothing of records or revisions, and differ in how they read an object again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.cinderlib import objects
from csi_cinderlib.cinderlib.persistence import base
from csi_cinderlib.cinderlib.persistence.memory import MemoryPersistence


class JsonFiles(base.PersistenceDriverBase):
    """A file for each object with its JSON, read by `load`. An object that was changed since it was read is not overwritten."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self.fake_db = base.DB(self)
        self.written: list[str] = []
        super().__init__()

    @property
    def db(self) -> Any:
        return self.fake_db

    def _file(self, kind: str, id: Any) -> Path:
        directory = self._directory / kind
        directory.mkdir(parents=True, exist_ok=True)
        return directory / hashlib.sha256(json.dumps(id).encode()).hexdigest()

    def _read(self, kind: str, id: Any) -> list[Any]:
        self._file(kind, "")
        paths = [self._file(kind, id)] if id else sorted((self._directory / kind).iterdir())
        found = []
        for path in paths:
            if path.exists():
                content = json.loads(path.read_text())
                item = cinderlib.load(content["json"])
                item.version_in_file = content["version"]
                found.append(item)
        return found

    def _write(self, kind: str, item: Any) -> None:
        path = self._file(kind, item.id)
        version = json.loads(path.read_text())["version"] if path.exists() else 0
        if getattr(item, "version_in_file", 0) != version:
            raise OSError(f"{item.id} was changed by another process")
        is_new = "id" in self.get_changed_fields(item)
        if is_new != (version == 0):
            raise OSError(f"{item.id} is new: {is_new}, its version: {version}")
        path.write_text(json.dumps({"version": version + 1, "json": item.to_jsons(simplified=True)}))
        self.written.append(f"{kind} {sorted(self.get_changed_fields(item))}")

    def get_volumes(
        self, volume_id: str | None = None, volume_name: str | None = None, backend_name: str | None = None
    ) -> list[Any]:
        found = self._read("volumes", volume_id)
        return [
            volume
            for volume in found
            if volume_name in (None, volume.name)
            and backend_name in (None, getattr(volume.backend, "id", volume.backend))
        ]

    def get_snapshots(
        self, snapshot_id: str | None = None, snapshot_name: str | None = None, volume_id: str | None = None
    ) -> list[Any]:
        found = self._read("snapshots", snapshot_id)
        return [item for item in found if snapshot_name in (None, item.name) and volume_id in (None, item.volume_id)]

    def get_connections(self, connection_id: str | None = None, volume_id: str | None = None) -> list[Any]:
        return [item for item in self._read("connections", connection_id) if volume_id in (None, item.volume_id)]

    def get_key_values(self, key: Any = None) -> list[Any]:
        self._file("key_values", "")
        paths = [self._file("key_values", key)] if key else sorted((self._directory / "key_values").iterdir())
        return [objects.KeyValue(**json.loads(path.read_text())) for path in paths if path.exists()]

    def set_volume(self, volume: Any) -> None:
        self._write("volumes", volume)
        super().set_volume(volume)

    def set_snapshot(self, snapshot: Any) -> None:
        self._write("snapshots", snapshot)
        super().set_snapshot(snapshot)

    def set_connection(self, connection: Any) -> None:
        self._write("connections", connection)
        super().set_connection(connection)

    def set_key_value(self, key_value: Any) -> None:
        text = json.dumps({"key": key_value.key, "value": key_value.value})
        self._file("key_values", key_value.key).write_text(text)

    def delete_volume(self, volume: Any) -> None:
        self._file("volumes", volume.id).unlink(missing_ok=True)
        super().delete_volume(volume)

    def delete_snapshot(self, snapshot: Any) -> None:
        self._file("snapshots", snapshot.id).unlink(missing_ok=True)
        super().delete_snapshot(snapshot)

    def delete_connection(self, connection: Any) -> None:
        self._file("connections", connection.id).unlink(missing_ok=True)
        super().delete_connection(connection)

    def delete_key_value(self, key_value: Any) -> None:
        self._file("key_values", key_value.key).unlink(missing_ok=True)


class Columns(base.PersistenceDriverBase):
    """A row for each field in SQLite. Only changed fields are written. Volumes are read by their fields, others by Cinder's object."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE IF NOT EXISTS field (kind, id, name, value, PRIMARY KEY (kind, id, name))")
        self._database.execute("CREATE TABLE IF NOT EXISTS key_value (key PRIMARY KEY, value)")
        super().__init__()

    def close(self) -> None:
        self._database.close()

    @property
    def db(self) -> Any:
        return base.DB(self)

    def _write(self, kind: str, item: Any) -> None:
        values = self.get_changed_fields(item) or self.get_fields(item)
        rows = [(kind, item.id, name, json.dumps(value, default=str)) for name, value in values.items()]
        self._database.executemany("INSERT OR REPLACE INTO field VALUES (?, ?, ?, ?)", rows)

    def _read(self, kind: str, **wanted: Any) -> Iterable[dict[str, Any]]:
        items: dict[str, dict[str, Any]] = {}
        for id, name, value in self._database.execute("SELECT id, name, value FROM field WHERE kind = ?", (kind,)):
            items.setdefault(id, {})[name] = json.loads(value)
        for item in items.values():
            if all(not value or item[name] == value for name, value in wanted.items()):
                yield item

    def _delete(self, kind: str, item: Any) -> None:
        self._database.execute("DELETE FROM field WHERE kind = ? AND id = ?", (kind, item.id))

    def get_volumes(
        self, volume_id: str | None = None, volume_name: str | None = None, backend_name: str | None = None
    ) -> list[Any]:
        found = []
        for values in self._read("volume", id=volume_id, display_name=volume_name):
            backend = values["host"].split("@")[1].split("#")[0]
            if backend_name in (None, backend):
                found.append(objects.Volume(backend, **values))
        return found

    def get_snapshots(
        self, snapshot_id: str | None = None, snapshot_name: str | None = None, volume_id: str | None = None
    ) -> list[Any]:
        found = []
        for values in self._read("snapshot", id=snapshot_id, display_name=snapshot_name, volume_id=volume_id):
            ovo = objects.Snapshot.OVO_CLASS(objects.CONTEXT, **values)
            found.append(objects.Snapshot(None, **{"__ovo": ovo}))
        return found

    def get_connections(self, connection_id: str | None = None, volume_id: str | None = None) -> list[Any]:
        found = []
        for values in self._read("connection", id=connection_id, volume_id=volume_id):
            ovo = objects.Connection.OVO_CLASS(objects.CONTEXT, **values)
            found.append(objects.Connection(None, volume=None, **{"__ovo": ovo}))
        return found

    def get_key_values(self, key: Any = None) -> list[Any]:
        rows = self._database.execute("SELECT key, value FROM key_value ORDER BY key")
        return [objects.KeyValue(known, json.loads(value)) for known, value in rows if key in (None, known)]

    def set_volume(self, volume: Any) -> None:
        self._write("volume", volume)
        super().set_volume(volume)

    def set_snapshot(self, snapshot: Any) -> None:
        self._write("snapshot", snapshot)
        super().set_snapshot(snapshot)

    def set_connection(self, connection: Any) -> None:
        self._write("connection", connection)
        super().set_connection(connection)

    def set_key_value(self, key_value: Any) -> None:
        row = (key_value.key, json.dumps(key_value.value))
        self._database.execute("INSERT OR REPLACE INTO key_value VALUES (?, ?)", row)

    def delete_volume(self, volume: Any) -> None:
        self._delete("volume", volume)
        super().delete_volume(volume)

    def delete_snapshot(self, snapshot: Any) -> None:
        self._delete("snapshot", snapshot)
        super().delete_snapshot(snapshot)

    def delete_connection(self, connection: Any) -> None:
        self._delete("connection", connection)
        super().delete_connection(connection)

    def delete_key_value(self, key_value: Any) -> None:
        self._database.execute("DELETE FROM key_value WHERE key = ?", (key_value.key,))


class Remembering(MemoryPersistence):
    """A subclass of cinderlib's plugin in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def set_volume(self, volume: Any) -> None:
        self.calls.append(volume.status)
        super().set_volume(volume)


PLUGINS: Mapping[str, Callable[[Path], Any]] = MappingProxyType(
    {
        "json": lambda directory: JsonFiles(str(directory / "files")),
        "columns": lambda directory: Columns(str(directory / "columns.db")),
        "memory": lambda _directory: Remembering(),
    }
)
"""How each is created, with a directory for its files."""


@contextmanager
def closing(plugin: Any) -> Iterator[Any]:
    """The library does not close plugins; their user does."""
    try:
        yield plugin
    finally:
        getattr(plugin, "close", lambda: None)()
