"""Stores to measure, each with the bare way to the same data: the driver's cursor on the same tables, a plain HTTP request, JSON text."""

from __future__ import annotations

import json
import sqlite3
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from csi_cinderlib.model.capability import AccessMode, Capability, Mount
from csi_cinderlib.model.records import Provider, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.kubernetes.rest import Client, from_kubeconfig
from csi_cinderlib.persistence.kubernetes.store import KubernetesStore, _token_after
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server

WALK_PAGE = 500
"""What every store gives at once."""


def volume(number: int) -> Volume:
    """As a StorageClass and a claim make it."""
    id = str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
    return Volume(
        id=id,
        name=f"pvc-{id}",
        backend="array1",
        pool="gold",
        host="csi-cinderlib@array1#gold",
        size=GiB(10),
        status=Status.AVAILABLE,
        capabilities=(Capability(Mount("ext4"), AccessMode.SINGLE_NODE_WRITER),),
        parameters={"backend": "array1", "pool": "gold"},
        provider=Provider(location="10.0.0.1:3260,1 iqn.2010-10.org.openstack:volume-1 1", auth="CHAP user password"),
        labels={"csi.storage.k8s.io/pvc/name": f"claim-{number}", "csi.storage.k8s.io/pvc/namespace": "default"},
        owner="controller-0:/var/lib/csi-cinderlib",
        created_at="2026-02-03T04:05:06.000007Z",
    )


class Raw(Protocol):
    """The floor: what the operation costs without this program, the JSON read or written."""

    named: str

    def create(self, one: Volume) -> object: ...
    def get(self, one: Volume) -> object: ...
    def get_by_name(self, one: Volume) -> object: ...
    def update(self, one: Volume) -> object: ...
    def delete(self, one: Volume) -> object: ...
    def page(self, after: str, limit: int) -> Sequence[str]:
        """The ids."""


@dataclass(frozen=True)
class Bed:
    store: Store
    raw: Raw
    calls: Callable[[], int] | None = None
    """How many requests the store has sent."""


class Cursor:
    """A driver's connection of its own to the same tables; `mark` is its placeholder."""

    named = "raw SQL"

    def __init__(self, connection: Any, mark: str) -> None:
        self._connection = connection
        self._mark = mark
        self._bytes = type(connection).__module__.startswith("pymysql")

    def _run(self, statement: str, *values: object) -> list[Any]:
        cursor = self._connection.cursor()
        keys = [value.encode() if self._bytes and isinstance(value, str) else value for value in values]
        cursor.execute(statement.replace("?", self._mark), keys)
        return list(cursor.fetchall()) if cursor.description else []

    def create(self, one: Volume) -> None:
        keys = codec.keys(one)
        names = ", ".join([*keys, "revision", "body"])
        marks = ", ".join("?" * (len(keys) + 2))
        self._run(f"INSERT INTO volumes ({names}) VALUES ({marks})", *keys.values(), "1", codec.to_text(one))

    def get(self, one: Volume) -> object:
        return [json.loads(row[1]) for row in self._run("SELECT revision, body FROM volumes WHERE id = ?", one.id)]

    def get_by_name(self, one: Volume) -> object:
        statement = "SELECT id, revision, body FROM volumes WHERE name = ? ORDER BY id LIMIT 101"
        return [json.loads(row[2]) for row in self._run(statement, one.name)]

    def update(self, one: Volume) -> None:
        self._run("UPDATE volumes SET body = ?, revision = ? WHERE id = ?", codec.to_text(one), "2", one.id)

    def delete(self, one: Volume) -> None:
        self._run("DELETE FROM volumes WHERE id = ?", one.id)

    def page(self, after: str, limit: int) -> Sequence[str]:
        statement = "SELECT id, revision, body FROM volumes WHERE id > ? AND backend = ? ORDER BY id LIMIT ?"
        return [json.loads(row[2])["id"] for row in self._run(statement, after, "array1", limit)]


class Request:
    """Requests by the same HTTP client."""

    named = "bare HTTP"

    def __init__(self, client: Client, store: KubernetesStore) -> None:
        self._client = client
        self._store = store
        self._path = store._path(Volume)

    def create(self, one: Volume) -> object:
        return self._client.post(self._path, self._store._object(one))

    def get(self, one: Volume) -> object:
        return self._client.get(f"{self._path}/{one.id}")

    def get_by_name(self, one: Volume) -> object:
        return self._client.get(self._path, labelSelector=f"cinderlib.io/name={one.name}", limit="100")

    def update(self, one: Volume) -> object:
        spec = {"op": "replace", "path": "/spec", "value": self._store._spec(one)}
        return self._client.patch(f"{self._path}/{one.id}", [spec])

    def delete(self, one: Volume) -> object:
        return self._client.delete(f"{self._path}/{one.id}")

    def page(self, after: str, limit: int) -> Sequence[str]:
        query = {"limit": str(limit), "labelSelector": "cinderlib.io/backend=array1"}
        if after:
            query["continue"] = _token_after(after)
        return [item["spec"]["id"] for item in self._client.get(self._path, **query)["items"]]


class Json:
    """The very texts in a store's own dict, for what lives in the process."""

    named = "dict of JSON"

    def __init__(self, store: MemoryStore) -> None:
        self._table = store._tables[Volume]
        self._own: dict[str, str] = {}

    def create(self, one: Volume) -> None:
        self._own[one.id] = codec.to_text(one)

    update = create

    def get(self, one: Volume) -> object:
        return json.loads(self._table.rows[one.id].body)

    def get_by_name(self, one: Volume) -> object:
        return [json.loads(self._table.rows[id].body) for id in self._table.index["name", one.name]]

    def delete(self, one: Volume) -> None:
        del self._own[one.id]

    def page(self, after: str, limit: int) -> Sequence[str]:
        start = bisect_right(self._table.ids, after)
        return [json.loads(self._table.rows[id].body)["id"] for id in self._table.ids[start : start + limit]]


@contextmanager
def in_process(plugin: str, directory: Path) -> Iterator[Bed]:
    store = open_store(plugin, state_dir=directory)
    assert isinstance(store, MemoryStore)
    yield Bed(store, Json(store))


@contextmanager
def sqlite(directory: Path) -> Iterator[Bed]:
    store = open_store("sql", state_dir=directory)
    raw = sqlite3.connect(directory / "metadata.db", isolation_level=None)
    raw.execute("PRAGMA synchronous=FULL")
    yield Bed(store, Cursor(raw, "?"))
    raw.close()
    store.close()


@contextmanager
def on_server(kind: Callable[[], Server], directory: Path) -> Iterator[Bed]:
    server = kind()
    try:
        server.initialize()
        store = open_store("sql", {"url": server.url}, state_dir=directory)
        raw = server.connect_as_owner()
        yield Bed(store, Cursor(raw, "%s"))
        raw.close()
        store.close()
    finally:
        server.discard()


@contextmanager
def kubernetes(directory: Path) -> Iterator[Bed]:
    from tests.cluster.bed.custom_resources import Namespace, serving

    with serving(directory / "api-server") as server:
        namespace = Namespace(server, directory)
        client = Client(from_kubeconfig(namespace.kubeconfigs["controller"]))
        store = KubernetesStore(client, namespace.name, None)
        raw = Client(from_kubeconfig(namespace.kubeconfigs["controller"]))
        yield Bed(store, Request(raw, store), lambda: client.calls)
        raw.close()
        store.close()


BEDS: Mapping[str, Callable[[Path], Any]] = {
    "memory": lambda directory: in_process("memory", directory),
    "stateless": lambda directory: in_process("stateless", directory),
    "sqlite": sqlite,
    "postgresql": lambda directory: on_server(PostgreSQL, directory),
    "mariadb": lambda directory: on_server(MariaDB, directory),
    "mysql": lambda directory: on_server(MySQL, directory),
    "kubernetes": kubernetes,
}
