"""The SQL store: one statement per call, with SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, func, select
from sqlalchemy.exc import IntegrityError

from csi_cinderlib.errors import AlreadyExists, DriverError, NotFound, StaleRecord, StoreUnavailable
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import EMPTY, Attachment, Record, Snapshot, Status, Volume
from csi_cinderlib.persistence import codec
from csi_cinderlib.persistence.api import Page, R, Sealer, Selection, Traits, Where
from csi_cinderlib.persistence.queries import has_snapshots
from csi_cinderlib.persistence.revisions import following
from csi_cinderlib.persistence.sql import several, walks
from csi_cinderlib.persistence.sql.database import Database
from csi_cinderlib.persistence.sql.query import Change, Query
from csi_cinderlib.persistence.sql.schema import TABLES
from csi_cinderlib.persistence.sql.several import Part

_OFTEN_CHANGED = ("revision", "status", "body")
"""The columns that most changes of a record write."""


class _Statements:
    """The statements of a table, created once, so that they are compiled only once."""

    def __init__(self, table: Table) -> None:
        is_it = table.c.id == bindparam("the_id")
        is_that_state = is_it & (table.c.revision == bindparam("the_revision"))
        columns = table.c.keys()
        self._kept = [name for name in columns if name not in ("id", *_OFTEN_CHANGED)]
        is_kept = [table.c[name] == bindparam(f"the_{name}") for name in self._kept]
        self.insert = Change(table.insert(), columns)
        self._insert_several = several.insertion(table)
        often = [name for name in columns if name in _OFTEN_CHANGED]
        self._update = Change(table.update().where(is_that_state, *is_kept), often)
        self._update_several = several.update(table, often, ["id", "revision", *self._kept])
        self._rewrite = Change(table.update().where(is_that_state), columns[1:])
        self.delete = Change(table.delete().where(is_that_state))
        self.get = Query(select(table.c.revision, table.c.body).where(is_it))
        self.revision: Select[Any] = select(table.c.revision).where(is_it)
        self._table = table

    def replace(self, connection: Connection, record: Record, row: Mapping[str, str]) -> int:
        """Update the row and return whether one with the revision of the record existed.

        SQLite rewrites the index of each column in a statement, even if the value is unchanged, so other columns are updated only
        if they have changed.
        """
        everything = {name: value for name, value in row.items() if name != "id"}
        return self._update.run(connection, self._changed(record, row)) or self._rewrite.run(
            connection, {"the_id": record.id, "the_revision": record.revision, **everything}
        )

    def _changed(self, record: Record, row: Mapping[str, str]) -> Mapping[str, str]:
        """The changed values, and the expected values of all other columns."""
        kept = {f"the_{name}": row[name] for name in self._kept}
        changed = {name: value for name, value in row.items() if name in _OFTEN_CHANGED}
        return {"the_id": record.id, "the_revision": record.revision, **kept, **changed}

    def addition(self, row: Mapping[str, str]) -> Part:
        return Part(self._table.name, row["id"], row["revision"], self._insert_several, row)

    def replacement(self, record: Record, row: Mapping[str, str]) -> Part:
        return Part(self._table.name, row["id"], row["revision"], self._update_several, self._changed(record, row))

    def removal(self, record: Record) -> Part:
        return Part(self._table.name, record.id)


_STATEMENTS: Mapping[type[Record], _Statements] = {kind: _Statements(table) for kind, table in TABLES.items()}


def _revision(connection: Connection, kind: type[Record], id: str) -> str | None:
    found: str | None = connection.execute(_STATEMENTS[kind].revision, {"the_id": id}).scalar()
    return found


def _snapshots_of(connection: Connection, volume_id: str) -> int:
    table = TABLES[Snapshot]
    return (
        connection.execute(select(func.count()).select_from(table).where(table.c.volume_id == volume_id)).scalar() or 0
    )


def _conflict(connection: Connection, record: Record) -> DriverError:
    """The error if no row has the revision of the record."""
    found = _revision(connection, type(record), record.id)
    name = codec.kind_name(type(record))
    return NotFound(name, record.id) if found is None else StaleRecord(name, record.id)


def _dangling(connection: Connection, record: Record) -> DriverError:
    """The error for a violated foreign key."""
    if isinstance(record, Snapshot | Attachment) and _revision(connection, Volume, record.volume_id) is None:
        return NotFound("volume", record.volume_id)
    return StoreUnavailable(
        f"{codec.kind_name(type(record))} {record.id!r}: a related record was changed at the same time; retry"
    )


LARGE = 64 * 1024
"""Characters of a record that is large. Records of drivers have a few thousand."""
REMOVALS = 5
"""Attempts to remove a record whose dependents were removed at the same time."""


@dataclass(frozen=True, slots=True)
class _Add:
    record: Record
    row: Mapping[str, str]

    @property
    def begins(self) -> bool:
        """True unless the record documents the remains of a failure."""
        return getattr(self.record, "status", None) in (Status.CREATING, Status.AVAILABLE)

    @property
    def part(self) -> Part:
        return _STATEMENTS[type(self.record)].addition(self.row)

    def run(self, connection: Connection) -> None:
        try:
            _STATEMENTS[type(self.record)].insert.run(connection, self.row)
        except IntegrityError as error:
            if _revision(connection, type(self.record), self.record.id) is not None:
                raise AlreadyExists(codec.kind_name(type(self.record)), self.record.id) from None
            raise _dangling(connection, self.record) from error

    def is_done(self, connection: Connection) -> bool:
        return _revision(connection, type(self.record), self.record.id) == self.row["revision"]


@dataclass(frozen=True, slots=True)
class _Replace:
    record: Record
    row: Mapping[str, str]

    @property
    def begins(self) -> bool:
        """True unless the change finishes, undoes or deletes something.

        A usable record that is large has values of a user, who may repeat the call later. The reserve is for many small changes.
        """
        status = getattr(self.record, "status", None)
        return status in (Status.CREATING, Status.EXTENDING) or (
            status is Status.AVAILABLE and len(self.row["body"]) > LARGE
        )

    @property
    def part(self) -> Part:
        return _STATEMENTS[type(self.record)].replacement(self.record, self.row)

    def run(self, connection: Connection) -> None:
        try:
            changed = _STATEMENTS[type(self.record)].replace(connection, self.record, self.row)
        except IntegrityError as error:
            raise _dangling(connection, self.record) from error
        if not changed:
            raise _conflict(connection, self.record)

    def is_done(self, connection: Connection) -> bool:
        return _revision(connection, type(self.record), self.record.id) == self.row["revision"]


@dataclass(frozen=True, slots=True)
class _Remove:
    record: Record
    begins = False

    @property
    def part(self) -> Part:
        return _STATEMENTS[type(self.record)].removal(self.record)

    def run(self, connection: Connection) -> None:
        for attempt in range(REMOVALS):
            try:
                return self._delete(connection)
            except IntegrityError as error:
                if count := _snapshots_of(connection, self.record.id):
                    raise has_snapshots(self.record.id, count) from None
                if attempt == REMOVALS - 1:  # else retry: the last snapshot was removed meanwhile
                    raise _dangling(connection, self.record) from error
        return None

    def _delete(self, connection: Connection) -> None:
        values = {"the_id": self.record.id, "the_revision": self.record.revision}
        if not _STATEMENTS[type(self.record)].delete.run(connection, values):
            raise _conflict(connection, self.record)

    def is_done(self, connection: Connection) -> bool:
        return _revision(connection, type(self.record), self.record.id) is None


class SqlStore:
    """See `persistence.api.Store`."""

    def __init__(self, database: Database, sealer: Sealer | None = None) -> None:
        self.traits = Traits(durable=True, shared=database.shared)
        self._database = database
        self._sealer = sealer

    def add(self, record: R) -> R:
        stored = replace(record, revision=following(""))
        self._database.write(_Add(record, self._row(stored)))
        return stored

    def get(self, kind: type[R], id: str) -> R:
        rows = self._database.read(lambda connection: _STATEMENTS[kind].get.rows(connection, {"the_id": id}))
        if not rows:
            raise NotFound(codec.kind_name(kind), id)
        revision, body = rows[0]
        return codec.from_text(kind, body, id=id, revision=revision, sealer=self._sealer)

    def replace(self, record: R) -> R:
        stored = replace(record, revision=following(record.revision))
        self._database.write(_Replace(record, self._row(stored)))
        return stored

    def remove(self, record: R) -> None:
        self._database.write(_Remove(record))

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        walk = walks.walk(kind, where, limit, after=after)
        found = () if walk.is_empty else self._database.read(lambda connection: walks.rows(connection, walk))
        return walks.page(kind, limit, found, self._sealer)

    def close(self) -> None:
        self._database.close()

    def _row(self, record: Record) -> Mapping[str, str]:
        return {**codec.keys(record), "revision": record.revision, "body": codec.to_text(record, self._sealer)}


class ServerStore(SqlStore):
    """The store on a database server. See `persistence.api.Selecting`."""

    def pages(self, selections: Sequence[Selection[Any]]) -> Sequence[Page[Any]]:
        asked = [walks.walk(one.kind, one.where, one.limit, id=one.id) for one in selections]
        parts = self._database.read(lambda connection: walks.rows_of_each(connection, asked))
        return [
            walks.page(one.kind, one.limit, rows, self._sealer) for one, rows in zip(selections, parts, strict=True)
        ]
