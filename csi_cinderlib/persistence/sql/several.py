"""Changes of several records by one statement, for SQLite.

Python gives up its interpreter lock five times for each statement. With many callers that takes longer than writing a row.
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
"""Of one statement. SQLite takes 999 parameters, or more since 3.32; the change of a snapshot has 9."""
UPDATE_FROM = (3, 33)
"""The first version of SQLite that has it."""


class Statement:
    """An INSERT or UPDATE for several records of a table.

    Args:
        before, after: its text around the rows.
        names: of the values of a row, in their order.
    """

    def __init__(self, table: Table, before: str, names: Sequence[str], after: str = "") -> None:
        self.table = table.name
        self._before = before
        self._names = names
        self._after = after

    def run(self, connection: Connection, parts: Sequence[Part]) -> set[str]:
        """The ids of those that it wrote. Raises DBAPIError when it wrote none."""
        text = f"{self._before} VALUES {_marks(len(parts), len(self._names))}{self._after}"
        try:
            cursor = execute_in_sqlite(connection, text, [part.values[name] for part in parts for name in self._names])
        except IntegrityError:  # of one of them; nothing was written
            return set()
        return {part.id for part in parts} if cursor.rowcount == len(parts) else self._written(connection, parts)

    def _written(self, connection: Connection, parts: Sequence[Part]) -> set[str]:
        """Each write makes a revision of its own. SQLite has no index for pairs: it would look through all of the table."""
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
    """Of the records whose columns `compared` have the values `the_NAME`. None where SQLite is too old for it."""
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
    """A write as one of several.

    Attributes:
        table, id: of the record.
        revision: that the write gives it.
        statement: None for a write that shares none.
        values: for the statement.
    """

    table: str
    id: str
    revision: str = ""
    statement: Statement | None = None
    values: Mapping[str, object] = NOTHING


def write(connection: Connection, parts: Sequence[Part]) -> set[int]:
    """Write what can be written together; the numbers of those that were.

    The others were not written, and the caller carries them out one by one, in their order: only that tells why one cannot be.
    Of several writes of one record all but the first are among them.

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
