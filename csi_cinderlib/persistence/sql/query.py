"""Statements that run on the cursor of the database driver.

SQLAlchemy compiles the statements and manages the connections. Executing a statement with SQLAlchemy would take as long as PostgreSQL
takes to answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Delete, Insert, Select, Update, literal, select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

from csi_cinderlib.persistence.sql.types import Key, from_database, in_bytes, to_database

Row = tuple[str, ...]
_ANYTHING = select(literal(1))


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
        with _executed(connection, text.statement, parameters) as cursor:
            rows: Sequence[Row] = cursor.fetchall()
            return [tuple(map(from_database, row)) for row in rows] if text.in_bytes else rows

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
        self._texts: dict[str, tuple[str, Sequence[str] | None, frozenset[str]]] = {}

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Return the number of changed rows. Raises DBAPIError, for example IntegrityError."""
        dialect = connection.dialect
        statement, order, keys = self._texts.get(dialect.name) or self._word(dialect)
        given = {name: to_database(value, dialect) if name in keys else value for name, value in values.items()}
        if dialect.name == "sqlite":
            return execute_in_sqlite(connection, statement, [given[name] for name in order or ()]).rowcount
        with _executed(connection, statement, given if order is None else [given[name] for name in order]) as cursor:
            return int(cursor.rowcount)

    def _word(self, dialect: Dialect) -> tuple[str, Sequence[str] | None, frozenset[str]]:
        """The statement compiled for the dialect, the order of positional parameters, and the parameters that are a Key."""
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns or None)
        binds: Mapping[str, BindParameter[Any]] = compiled.binds
        keys = frozenset(name for name, bind in binds.items() if isinstance(bind.type, Key))
        return self._texts.setdefault(dialect.name, (str(compiled), compiled.positiontup, keys))


@contextmanager
def _executed(connection: Connection, statement: str, parameters: Any) -> Iterator[Any]:
    """The cursor of the database driver after the statement. Raises DBAPIError as SQLAlchemy does, also for errors of the block."""
    dialect = connection.dialect
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement, parameters)
        yield cursor
    except dialect.loaded_dbapi.Error as error:
        if dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor):
            raise _broken(connection, statement, error) from error
        raise _as_sqlalchemys(connection, statement, error) from error
    except (
        BaseException
    ):  # an interrupt: the answer may still arrive, and must not be read as that of the next statement
        connection.invalidate()
        raise
    finally:
        cursor.close()


def _broken(connection: Connection, statement: str, error: Exception) -> DBAPIError:
    """The error of a broken connection. It was invalidated, with the pool, whose other connections are probably broken as well."""
    try:
        connection.execute(_ANYTHING)  # SQLAlchemy runs into the broken connection itself, and does all this
    except DBAPIError as seen:
        if seen.connection_invalidated:
            return seen
    connection.invalidate(error)
    return _as_sqlalchemys(connection, statement, error, connection_invalidated=True)


def _as_sqlalchemys(connection: Connection, statement: str, error: Exception, **state: bool) -> DBAPIError:
    base = connection.dialect.loaded_dbapi.Error
    made = DBAPIError.instance(statement, None, error, base, hide_parameters=True, dialect=connection.dialect, **state)
    assert isinstance(made, DBAPIError)
    return made


def execute_in_sqlite(connection: Connection, text: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
    """Execute without SQLAlchemy, which cannot begin a transaction on an AUTOCOMMIT connection. Raises DBAPIError."""
    driver: Any = connection.connection.driver_connection
    try:
        cursor: sqlite3.Cursor = driver.execute(text, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True) from error
    return cursor
