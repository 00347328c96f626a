"""Reads the tables of cinderlib, and of other programs with Cinder's tables, in one read-only transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from csi_cinderlib.adoption.database import foreign
from csi_cinderlib.adoption.rows import KEY_VALUES, OPTIONAL, REQUIRED, Tables
from csi_cinderlib.errors import ConfigurationError, Problem
from csi_cinderlib.persistence.sql import looking, server
from csi_cinderlib.persistence.sql.location import URL_KEY, Location, locate, without_driver

KEY = "--url"
SECONDS = 3600.0
"""Limit for reading a table. Cinder marks rows as deleted without an index, so there may be millions to read past."""


def read(url: str) -> tuple[Tables, str]:
    """The rows of cinderlib's tables that matter, and the URL without its password. Raises the errors of `opened`."""
    with opened(url) as (connection, location):
        return _tables(connection, location), location.shown


@contextmanager
def opened(url: str) -> Iterator[tuple[Connection, Location]]:
    """A connection that can only read, and where it leads.

    The source is not changed: SQLite is opened read-only and leaves no file behind, a server gets a read-only transaction, in which all
    tables are read in the same state.

    Args:
        url: as in the program's `connection`; a driver in it (`+psycopg2`) is ignored.

    Raises:
        ConfigurationError: it does not exist or cannot be read, or the caller refuses it.
        StoreUnavailable: the server cannot be reached, or the file was changed meanwhile.
    """
    try:
        location = locate({"url": without_driver(url), "statement_timeout": SECONDS}, Path())
        with looking.look(location) if location.is_file else server.look(location, snapshot=True) as connection:
            yield _readable(connection, location), location
    except ConfigurationError as error:
        raise ConfigurationError.of(
            Problem(KEY if key == URL_KEY else key, problem) for key, problem in error.problems
        ) from error


def _readable(connection: Connection | None, location: Location) -> Connection:
    if connection is None:
        raise ConfigurationError(KEY, f"{location.file} does not exist")
    if location.is_file:
        _keep_bytes(connection)
    return connection


def names(connection: Connection) -> frozenset[str]:
    """The names of all tables."""
    return frozenset(inspect(connection).get_table_names())


def check_tables(present: Collection[str], wanted: Iterable[str], location: Location, program: str) -> None:
    """Raises ConfigurationError if a table is missing."""
    if absent := [name for name in wanted if name not in present]:
        raise ConfigurationError(
            KEY, f"{location.shown} is not a database of {program}: it lacks the tables {', '.join(absent)}"
        )


def _tables(connection: Connection, location: Location) -> Tables:
    present = names(connection)
    if "services" in present and KEY_VALUES not in present:
        raise ConfigurationError(
            KEY,
            f"{location.shown} is a database of OpenStack Cinder, not of cinderlib; use `csi-cinderlib adopt cinder`",
        )
    check_tables(present, REQUIRED, location, "cinderlib")
    wanted = {**REQUIRED, **{name: columns for name, columns in OPTIONAL.items() if name in present}}
    tables = {name: rows(connection, location, name, required=columns) for name, columns in wanted.items()}
    if problem := foreign(tables):
        raise ConfigurationError(KEY, f"{location.shown}: table {problem}")
    return tables


def rows(
    connection: Connection,
    location: Location,
    name: str,
    *,
    required: Collection[str],
    program: str = "cinderlib",
    where: str = "",
) -> tuple[dict[str, Any], ...]:
    """Rows of a table. Bytes become text, and stay bytes if they are not UTF-8.

    All columns are read, because their set depends on the version of Cinder.

    Args:
        required: the columns that the table must have.
        where: a condition; a constant of the caller.

    Raises:
        ConfigurationError: a column is missing.
    """
    result = connection.execute(text(f"SELECT * FROM {name}" + (f" WHERE {where}" if where else "")))  # noqa: S608  # constants
    if absent := sorted(set(required) - set(result.keys())):
        raise ConfigurationError(
            KEY, f"{location.shown} is not a database of {program}: table {name} lacks the columns {', '.join(absent)}"
        )
    return tuple({column: _text(value) for column, value in row.items()} for row in result.mappings())


def _keep_bytes(connection: Connection) -> None:
    """Let sqlite3 return text that is not UTF-8 as bytes. Its own error would end the run, and contains the value."""
    driver: Any = connection.connection.dbapi_connection
    driver.text_factory = _text


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
