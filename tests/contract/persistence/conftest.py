"""Each store with what lies beneath it, for the contract suite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.sql.schema import NAMES
from csi_cinderlib.persistence.stateless import StatelessStore

KIND_TABLES = {name: table for kind, table in NAMES.items() for name in [kind.__name__.lower()]}


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
            if table_kind.__name__.lower() == kind:
                table.rows[id].body = "{]"

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

    def contents(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.state_dir.iterdir())

    def row_counts(self) -> Mapping[str, int]:
        with closing(sqlite3.connect(self.file)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


HARNESSES: Mapping[str, Callable[..., Harness]] = {
    "memory": MemoryHarness,
    "stateless": StatelessHarness,
    "sqlite": SqliteHarness,
}


@pytest.fixture(params=HARNESSES)
def persistence_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    yield HARNESSES[request.param](state_dir=tmp_path)
