"""Metadata stores against raw SQL on the same tables in the same minute: `python -m tests.bench.stores [STORE...]`."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.samples import VOLUME
from csi_cinderlib.persistence.plugins import open_store
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.server import Server, Unavailable

SIZES = (1_000, 10_000, 100_000)
SAMPLES = 60
LINE = "{:<12} {:>8} {:<14} {:>10} {:>10} {:>7}"


@dataclass(frozen=True)
class Bed:
    """A store and a driver's connection to the same tables; `mark` is the driver's placeholder."""

    store: Store
    raw: Any
    mark: str

    def key(self, text: str) -> object:
        return text.encode() if self.store_is_mysql else text

    @property
    def store_is_mysql(self) -> bool:
        return type(self.raw).__module__.startswith("pymysql")

    def sql(self, statement: str, *values: object) -> list[Any]:
        cursor = self.raw.cursor()
        cursor.execute(statement.replace("?", self.mark), values)
        return list(cursor.fetchall()) if cursor.description else []


def volume(number: int) -> Volume:
    id = str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
    return replace(
        VOLUME, id=id, name=f"pvc-{id}", message="", fields={}, source=None, status=Status.AVAILABLE, revision=""
    )


@contextmanager
def sqlite() -> Iterator[Bed]:
    directory = Path(tempfile.mkdtemp(prefix="csi-cinderlib-bench-"))
    try:
        store = open_store("sql", state_dir=directory)
        raw = sqlite3.connect(directory / "metadata.db", isolation_level=None)
        raw.execute("PRAGMA synchronous=FULL")
        yield Bed(store, raw, "?")
        raw.close()
        store.close()
    finally:
        shutil.rmtree(directory)


@contextmanager
def on(kind: Callable[[], Server]) -> Iterator[Bed]:
    server = kind()
    try:
        server.initialize()
        store = open_store("sql", {"url": server.url}, state_dir=server.directory)
        if isinstance(server, PostgreSQL):
            import psycopg

            raw: Any = psycopg.connect(server.url, autocommit=True)
        else:
            import pymysql

            from tests.servers.server import PASSWORD

            raw = pymysql.connect(
                host="127.0.0.1", port=server.port, user="csi", password=PASSWORD, database="csi", autocommit=True
            )
        yield Bed(store, raw, "%s")
        raw.close()
        store.close()
    finally:
        server.discard()


BEDS: Mapping[str, Callable[[], Any]] = {
    "sqlite": sqlite,
    "postgresql": lambda: on(PostgreSQL),
    "mariadb": lambda: on(MariaDB),
}


def main() -> int:
    print(LINE.format("store", "volumes", "operation", "ms", "raw ms", "ratio"))
    for name in sys.argv[1:] or BEDS:
        try:
            with BEDS[name]() as bed:
                _measure(name, bed)
        except Unavailable as reason:
            print(f"{name}: skipped: {reason}")
    return 0


def _measure(name: str, bed: Bed) -> None:
    made = 0
    for size in SIZES:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: bed.store.add(volume(number)), range(made, size)))
        made = size
        for operation, (ours, raw) in _operations(bed, size).items():
            mine, floor = _median(ours), _median(raw)
            print(LINE.format(name, size, operation, f"{mine:.3f}", f"{floor:.3f}", f"{mine / floor:.1f}"), flush=True)
        started = time.perf_counter()
        _walk(bed.store)
        print(
            LINE.format(name, size, "walk by 1,000", f"{(time.perf_counter() - started) * 1e3:.0f}", "", ""), flush=True
        )


def _operations(bed: Bed, size: int) -> Mapping[str, tuple[Callable[[int], object], Callable[[int], object]]]:
    """Each one twice: through the store, and as the driver's bare statement with the JSON read or written."""
    store, key = bed.store, bed.key
    mine: list[Volume] = []
    rows = [codec.keys(volume(-1 - number)) for number in range(2 * SAMPLES)]
    body = codec.to_text(volume(0))
    insert = "INSERT INTO volumes (id, revision, backend, name, group_id, status, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
    middle = volume(size // 2)

    def raw_insert(number: int) -> None:
        values = rows[number]
        text = json.dumps(json.loads(body))
        columns = (values["id"], "1", values["backend"], values["name"], values["group_id"], values["status"])
        bed.sql(insert, *(key(value) for value in columns), text)

    def raw_rows(statement: str, *values: object) -> list[Any]:
        return [json.loads(text) for (text,) in bed.sql(statement, *values)]

    return {
        "create": (lambda i: mine.append(store.add(volume(1_000_000 + i))), raw_insert),
        "get": (
            lambda i: store.get(Volume, volume(i).id),
            lambda i: raw_rows("SELECT body FROM volumes WHERE id = ?", key(volume(i).id)),
        ),
        "get by name": (
            lambda i: store.page(Volume, where={"name": volume(i).name}),
            lambda i: raw_rows("SELECT body FROM volumes WHERE name = ?", key(volume(i).name)),
        ),
        "update": (
            lambda i: mine.__setitem__(i, store.replace(mine[i])),
            lambda i: bed.sql(
                "UPDATE volumes SET body = ?, revision = ? WHERE id = ?", body, key("2"), key(rows[i]["id"])
            ),
        ),
        "delete": (
            lambda i: store.remove(mine[i]),
            lambda i: bed.sql("DELETE FROM volumes WHERE id = ?", key(rows[i]["id"])),
        ),
        "page of 100": (
            lambda i: store.page(Volume, after=middle.id, where={"backend": "array1"}),
            lambda i: raw_rows(
                "SELECT body FROM volumes WHERE id > ? AND backend = ? ORDER BY id LIMIT 101",
                key(middle.id),
                key("array1"),
            ),
        ),
    }


def _walk(store: Store) -> None:
    after = "0"
    while after:
        after = store.page(Volume, after=after, limit=1000).next


def _median(call: Callable[[int], object]) -> float:
    taken = []
    for number in range(SAMPLES):
        started = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - started)
    return sorted(taken)[len(taken) // 2] * 1e3


if __name__ == "__main__":
    sys.exit(main())
