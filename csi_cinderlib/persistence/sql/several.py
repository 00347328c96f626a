"""Changes of several records with one statement, for SQLite.

Python releases its interpreter lock five times per statement. With many callers this takes longer than writing a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table
from sqlalchemy.exc import IntegrityError

from csi_cinderlib.model.records import NOTHING
from csi_cinderlib.persistence.sql.query import execute_in_sqlite

MOST_ROWS = 100
"""Limit of rows per statement. SQLite allows 999 parameters, since 3.32 more; the change of a snapshot has 9."""
UPDATE_FROM = (3, 33)
"""The first version of SQLite with UPDATE ... FROM."""


class Statement:
    """An INSERT or UPDATE for several records of a table.

    Args:
        before, after: SQL text before and after the rows.
        names: names of the values of a row, in order.
    """

    def __init__(self, table: Table, before: str, names: Sequence[str], after: str = "") -> None:
        self.table = table.name
        self._before = before
        self._names = names
        self._after = after

    def run(self, connection: Connection, parts: Sequence[Part]) -> set[str]:
        """Return the ids of the written records. Raises DBAPIError if none was written."""
        text = f"{self._before} VALUES {_marks(len(parts), len(self._names))}{self._after}"
        try:
            cursor = execute_in_sqlite(connection, text, [part.values[name] for part in parts for name in self._names])
        except IntegrityError:  # caused by one row; nothing was written
            return set()
        return {part.id for part in parts} if cursor.rowcount == len(parts) else self._written(connection, parts)

    def _written(self, connection: Connection, parts: Sequence[Part]) -> set[str]:
        """Find the written records by their unique revisions. A query for (id, revision) pairs would scan the whole table in SQLite."""
        text = f"SELECT id, revision FROM {self.table} WHERE id IN {_marks(1, len(parts))}"  # noqa: S608  # as below
        wanted = {(part.id, part.revision) for part in parts}
        return {
            id
            for id, revision in execute_in_sqlite(connection, text, [part.id for part in parts])
            if (id, revision) in wanted
        }


def _marks(rows: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def insertion(table: Table) -> Statement:
    names = table.c.keys()
    return Statement(table, f"INSERT INTO {table.name} ({', '.join(names)})", names)


def update(
    table: Table,
    changed: Sequence[str],
    compared: Sequence[str],
    *,
    version: tuple[int, ...] = sqlite3.sqlite_version_info,
) -> Statement | None:
    """Update records whose columns `compared` have the values `the_NAME`. Returns None if SQLite is too old."""
    if version < UPDATE_FROM:
        return None
    names = [*changed, *(f"the_{name}" for name in compared)]
    given = {name: f"new.column{number}" for number, name in enumerate(names, start=1)}
    assignments = ", ".join(f"{name} = {given[name]}" for name in changed)
    conditions = " AND ".join(f"{table.name}.{name} = {given[f'the_{name}']}" for name in compared)
    before = f"UPDATE {table.name} SET {assignments} FROM ("  # noqa: S608  # names of the schema only
    return Statement(table, before, names, f") AS new WHERE {conditions}")


@dataclass(frozen=True, slots=True)
class Part:
    """A write as part of a batch.

    Attributes:
        table, id: table and id of the record.
        revision: the new revision.
        statement: None for a write that cannot be combined with others.
        values: parameters of the statement.
    """

    table: str
    id: str
    revision: str = ""
    statement: Statement | None = None
    values: Mapping[str, object] = NOTHING


def write(connection: Connection, parts: Sequence[Part]) -> set[int]:
    """Carry out the writes that can be combined and return their numbers.

    The caller carries out the others one by one, in order, which also shows why a write fails. Of several writes to the same record,
    only the first can be combined.

    Raises:
        DBAPIError: the transaction must be rolled back.
    """
    written = set()
    for statement, numbers in _groups(parts):
        for start in range(0, len(numbers), MOST_ROWS):
            some = numbers[start : start + MOST_ROWS]
            ids = statement.run(connection, [parts[number] for number in some])
            written |= {number for number in some if parts[number].id in ids}
    return written


def _groups(parts: Sequence[Part]) -> Iterator[tuple[Statement, list[int]]]:
    groups: dict[Statement, list[int]] = {}
    seen = set()
    for number, part in enumerate(parts):
        record = part.table, part.id
        if part.statement is not None and record not in seen:
            groups.setdefault(part.statement, []).append(number)
        seen.add(record)
    return ((statement, numbers) for statement, numbers in groups.items() if len(numbers) > 1)
