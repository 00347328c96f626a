"""Each store of this program, but that of Kubernetes, with what lies beneath it, for the contract suite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.codec import kind_name
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.sql.schema import NAMES
from csi_cinderlib.persistence.stateless import StatelessStore
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server

KIND_TABLES = {kind_name(kind): table for kind, table in NAMES.items()}


def _renamed(body: str, new_id: str) -> str:
    return json.dumps({**json.loads(body), "id": new_id})


@dataclass(kw_only=True)
class StatelessHarness(Harness):
    """Opened again with what the last one dumped."""

    plugin: str = "stateless"

    def close(self, store: Store) -> None:
        assert isinstance(store, StatelessStore)
        self.options = {"document": store.dump()}
        store.close()

    def corrupt(self, kind: str, id: str) -> None:
        document = json.loads(str(self.options["document"]))
        for item in document["records"]:
            if (item["kind"], item["id"]) == (kind, id):
                item["record"]["size"] = "seven"
        self.options = {"document": json.dumps(document)}

    def rename(self, kind: str, id: str, new_id: str) -> None:
        document = json.loads(str(self.options["document"]))
        for item in document["records"]:
            if (item["kind"], item["id"]) == (kind, id):
                item["record"]["id"] = new_id
        self.options = {"document": json.dumps(document)}

    def contents(self) -> bytes:
        return str(self.options["document"]).encode()

    def row_counts(self) -> Mapping[str, int]:
        return {"records": len(json.loads(str(self.options["document"]))["records"])}


@dataclass(kw_only=True)
class MemoryHarness(Harness):
    """A store that ends with its object: "reopened" is the same one."""

    plugin: str = "memory"
    kept: Store | None = None

    def open(self, sealer: Sealer | None = None) -> Store:
        store = self.kept or super().open(sealer)
        self.kept = store
        store._sealer = sealer  # type: ignore[attr-defined]  # as if reopened with another key
        return store

    def corrupt(self, kind: str, id: str) -> None:
        tables = self.kept._tables  # type: ignore[union-attr]  # what lies beneath
        for table_kind, table in tables.items():
            if kind_name(table_kind) == kind:
                table.rows[id].content = "{]"

    def rename(self, kind: str, id: str, new_id: str) -> None:
        for table_kind, table in self.kept._tables.items():  # type: ignore[union-attr]  # as above
            if kind_name(table_kind) == kind:
                table.rows[id].content = _renamed(table.rows[id].body, new_id)

    def contents(self) -> bytes:
        rows = [row.body for table in self.kept._tables.values() for row in table.rows.values()]  # type: ignore[union-attr]
        return "\n".join(rows).encode()

    def row_counts(self) -> Mapping[str, int]:
        return {kind.__name__: len(table.rows) for kind, table in self.kept._tables.items()}  # type: ignore[union-attr]


@dataclass(kw_only=True)
class SqliteHarness(Harness):
    plugin: str = "sql"

    @property
    def file(self) -> Path:
        return self.state_dir / "metadata.db"

    def corrupt(self, kind: str, id: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute(f"UPDATE {KIND_TABLES[kind]} SET body = substr(body, 1, 40) WHERE id = ?", (id,))
            connection.commit()

    def rename(self, kind: str, id: str, new_id: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            table = KIND_TABLES[kind]
            (body,) = connection.execute(f"SELECT body FROM {table} WHERE id = ?", (id,)).fetchone()
            connection.execute(f"UPDATE {table} SET body = ? WHERE id = ?", (_renamed(body, new_id), id))
            connection.commit()

    def contents(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.state_dir.iterdir() if path.is_file())

    def row_counts(self) -> Mapping[str, int]:
        with closing(sqlite3.connect(self.file)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


@dataclass(kw_only=True)
class ServerHarness(Harness):
    """A database of a real server, emptied before each test."""

    plugin: str = "sql"
    server: Server

    def __post_init__(self) -> None:
        if not self.server.runs:  # a test of its end that failed is no reason for all that follow to fail
            self.server.start()
        if self.server.altered:
            self.server.renew_database()
        self.options = {"url": self.server.url}
        filled = [name for name, count in self.row_counts().items() if count and name in NAMES.values()]
        for table in sorted(filled, key=[*NAMES.values()].index, reverse=True):
            self.server.query(f"DELETE FROM {table}")

    def corrupt(self, kind: str, id: str) -> None:
        self.server.query(f"UPDATE {KIND_TABLES[kind]} SET body = '{{]' WHERE id = %s", self._key(id))

    def rename(self, kind: str, id: str, new_id: str) -> None:
        table = KIND_TABLES[kind]
        ((body,),) = self.server.query(f"SELECT body FROM {table} WHERE id = %s", self._key(id))
        self.server.query(f"UPDATE {table} SET body = %s WHERE id = %s", _renamed(body, new_id), self._key(id))

    def _key(self, id: str) -> str | bytes:
        return id if isinstance(self.server, PostgreSQL) else id.encode()

    def contents(self) -> bytes:
        return self.server.dump()

    def row_counts(self) -> Mapping[str, int]:
        schema = "public" if isinstance(self.server, PostgreSQL) else "csi"
        names = self.server.query("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", schema)
        return {name: self.server.query(f"SELECT count(*) FROM {name}")[0][0] for (name,) in names}

    def kill_server(self) -> None:
        self.server.kill()

    def start_server(self) -> None:
        self.server.start()


HARNESSES: Mapping[str, Callable[..., Harness]] = {
    "memory": MemoryHarness,
    "stateless": StatelessHarness,
    "sqlite": SqliteHarness,
}
