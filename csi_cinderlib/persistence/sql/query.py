"""Statements that run on the cursor of the database driver.

SQLAlchemy compiles the statements and manages the connections. Executing a statement with SQLAlchemy would take as long as PostgreSQL
takes to answer.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from csi_cinderlib.persistence.sql.types import from_database, in_bytes, to_database

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement compiled for a dialect.

    Attributes:
        order: names of positional parameters, else None.
        defaults: parameters that SQLAlchemy adds, for example an OFFSET of 0.
        in_bytes: keys are returned as bytes.
    """

    statement: str
    order: Sequence[str] | None
    defaults: Mapping[str, object]
    in_bytes: bool

    def parameters(self, values: Mapping[str, object]) -> Any:
        given = {**self.defaults, **values}
        return given if self.order is None else [given[name] for name in self.order]


class Query:
    """A SELECT of text columns."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def rows(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Row]:
        """Raises DBAPIError, which also indicates a broken connection."""
        dialect = connection.dialect
        text = self._texts.get(dialect.name) or self._word(dialect)
        parameters = text.parameters({name: to_database(value, dialect) for name, value in values.items()})
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text.statement, parameters)
            rows: Sequence[Row] = cursor.fetchall()
            return [tuple(map(from_database, row)) for row in rows] if text.in_bytes else rows
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor):
                raise DBAPIError(text.statement, None, error) from error
        finally:
            cursor.close()
        # SQLAlchemy runs into the broken connection itself and invalidates the pool.
        return connection.execute(self._statement, values).all()

    def _word(self, dialect: Dialect) -> _Text:
        compiled = self._statement.compile(dialect=dialect)
        defaults = {name: value for name, value in compiled.params.items() if value is not None}
        return self._texts.setdefault(
            dialect.name, _Text(str(compiled), compiled.positiontup, defaults, in_bytes(dialect))
        )


class Change:
    """An INSERT, UPDATE or DELETE.

    Args:
        columns: parameters with the written values, in addition to those of the condition.
    """

    def __init__(self, statement: Insert | Update | Delete, columns: Sequence[str] = ()) -> None:
        self._statement = statement
        self._columns = columns

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Return the number of changed rows. Raises DBAPIError, for example IntegrityError.

        For a server SQLAlchemy executes the statement, so that it invalidates the pool if a connection breaks. An SQLite connection
        cannot break.
        """
        dialect = connection.dialect
        if dialect.name != "sqlite":
            return int(connection.execute(self._statement, values).rowcount)
        text, order = self._worded
        return execute_in_sqlite(connection, text, [values[name] for name in order]).rowcount

    @functools.cached_property
    def _worded(self) -> tuple[str, Sequence[str]]:
        """The statement compiled for SQLite, and the order of its parameters."""
        compiled = self._statement.compile(dialect=sqlite.dialect(), column_keys=self._columns or None)
        return str(compiled), compiled.positiontup or ()


def execute_in_sqlite(connection: Connection, text: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
    """Execute without SQLAlchemy, which cannot begin a transaction on an AUTOCOMMIT connection. Raises DBAPIError."""
    driver: Any = connection.connection.driver_connection
    try:
        cursor: sqlite3.Cursor = driver.execute(text, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True) from error
    return cursor
