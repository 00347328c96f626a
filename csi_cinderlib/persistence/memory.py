"""A store in memory, for tests and for library users who store the records themselves."""

from __future__ import annotations

import json
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_cinderlib.errors import AlreadyExists, CorruptRecord, NotFound, StaleRecord
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import EMPTY, Attachment, Record, Snapshot, Volume
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import KINDS, Page, R, Sealer, Store, Traits, Where
from csi_cinderlib.persistence.plugins import check_options
from csi_cinderlib.persistence.queries import check_query, has_snapshots, wanted
from csi_cinderlib.persistence.revisions import following


def open_store(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:  # noqa: ARG001  # required by the protocol
    """The plugin `memory`. It has no options and does not use the state directory."""
    check_options(options, ())
    return MemoryStore(sealer)


@dataclass(slots=True)
class _Row:
    """A row as in a database. Each write and each read copies the content, so that callers share no mutable mapping with the store."""

    revision: str
    keys: Mapping[str, str]
    content: str | Mapping[str, Any]
    """The result of `codec.encode`; or text: of a record with unknown fields, which the codec does not copy, or from a document."""

    @property
    def body(self) -> str:
        """The content as text."""
        return self.content if isinstance(self.content, str) else json.dumps(self.content, separators=(",", ":"))


@dataclass(slots=True)
class _Table:
    rows: dict[str, _Row] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    index: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Sorted ids by (field, value)."""

    def put(self, id: str, row: _Row) -> None:
        before = self.rows.get(id)
        if before is None:
            insort(self.ids, id)
        self.rows[id] = row
        self._index(id, before.keys if before else EMPTY, row.keys)

    def drop(self, id: str) -> None:
        row = self.rows.pop(id, None)
        if row is not None:
            del self.ids[bisect_left(self.ids, id)]
            self._index(id, row.keys, EMPTY)

    def _index(self, id: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Move the id in the index, from its values before to those after."""
        for key in before.items():
            if after.get(key[0]) != key[1]:
                same = self.index[key]
                del same[bisect_left(same, id)]
                if not same:
                    del self.index[key]
        for key in after.items():
            if before.get(key[0]) != key[1]:
                insort(self.index.setdefault(key, []), id)

    def find(self, where: Mapping[str, tuple[str, ...]]) -> list[str]:
        """Return sorted ids, starting with the most selective field."""
        if not where:
            return self.ids
        lists = {name: [self.index.get((name, value), []) for value in values] for name, values in where.items()}
        best = min(lists, key=lambda name: sum(map(len, lists[name])))
        if len(lists) == len(lists[best]) == 1:
            return lists[best][0]
        ids: Iterable[str] = sorted(id for same in lists[best] for id in same)
        return [id for id in ids if all(self.rows[id].keys[name] in values for name, values in where.items())]


class MemoryStore:
    """See `persistence.api.Store` and `Comparing`."""

    traits = Traits(durable=False, shared=False)

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer
        self._tables: dict[type[Record], _Table] = {kind: _Table() for kind in KINDS}
        self._lock = threading.Lock()

    def add(self, record: R) -> R:
        stored = replace(record, revision=following(""))
        row = self._row(stored)
        with self._lock:
            table = self._tables[type(record)]
            if record.id in table.rows:
                raise AlreadyExists(codec.kind_name(type(record)), record.id)
            self._check_volume(record)
            table.put(record.id, row)
        return stored

    def get(self, kind: type[R], id: str) -> R:
        with self._lock:
            row = self._tables[kind].rows.get(id)
        if row is None:
            raise NotFound(codec.kind_name(kind), id)
        return self._record(kind, id, row)

    def replace(self, record: R) -> R:
        stored = replace(record, revision=following(record.revision))
        row = self._row(stored)
        with self._lock:
            self._check_revision(record)
            self._check_volume(record)
            self._tables[type(record)].put(record.id, row)
        return stored

    def remove(self, record: R) -> None:
        with self._lock:
            self._check_revision(record)
            if isinstance(record, Volume):
                self._remove_dependents(record.id)
            self._tables[type(record)].drop(record.id)

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        check_query(kind, limit, where)
        with self._lock:
            table = self._tables[kind]
            ids = table.find(wanted(where))
            start = bisect_right(ids, after)
            rows = [(id, table.rows[id]) for id in ids[start : start + limit]]
            more = len(ids) > start + limit
        records, corrupt = [], []
        for id, row in rows:
            try:
                records.append(self._record(kind, id, row))
            except CorruptRecord:
                corrupt.append(id)
        return Page(tuple(records), rows[-1][0] if more else "", tuple(corrupt))

    def is_current(self, record: Record, /) -> bool:
        with self._lock:
            row = self._tables[type(record)].rows.get(record.id)
            return row is not None and row.revision == record.revision

    def ids(self, kind: type[Record], where: Where = EMPTY, /) -> list[str]:
        check_query(kind, 1, where)
        with self._lock:
            return list(self._tables[kind].find(wanted(where)))

    def close(self) -> None:
        """Nothing to release."""

    def still(self) -> AbstractContextManager[object]:
        """Held during a fork, so that the child gets a consistent copy."""
        return self._lock

    def _put_raw(self, kind: type[Record], id: str, revision: str, body: str) -> None:
        """Store a body from a document, readable or not, with its readable keys. Call it with the lock held."""
        try:
            keys = codec.raw_keys(kind, id, json.loads(body))
        except ValueError:
            keys = codec.raw_keys(kind, id, None)
        self._tables[kind].put(id, _Row(revision, keys, body))

    def _row(self, record: Record) -> _Row:
        content = codec.to_text(record, self._sealer) if record.unknown else codec.encode(record, self._sealer)
        return _Row(record.revision, codec.keys(record), content)

    def _record(self, kind: type[R], id: str, row: _Row) -> R:
        if isinstance(row.content, str):
            return codec.from_text(kind, row.content, id=id, revision=row.revision, sealer=self._sealer)
        return codec.decode(kind, row.content, id=id, revision=row.revision, sealer=self._sealer)

    def _check_revision(self, record: Record) -> None:
        row = self._tables[type(record)].rows.get(record.id)
        if row is None:
            raise NotFound(codec.kind_name(type(record)), record.id)
        if row.revision != record.revision:
            raise StaleRecord(codec.kind_name(type(record)), record.id)

    def _check_volume(self, record: Record) -> None:
        if isinstance(record, Snapshot | Attachment) and record.volume_id not in self._tables[Volume].rows:
            raise NotFound("volume", record.volume_id)

    def _remove_dependents(self, volume_id: str) -> None:
        key = ("volume_id", volume_id)
        if count := len(self._tables[Snapshot].index.get(key, ())):
            raise has_snapshots(volume_id, count)
        attachments = self._tables[Attachment]
        for id in tuple(attachments.index.get(key, ())):
            attachments.drop(id)
