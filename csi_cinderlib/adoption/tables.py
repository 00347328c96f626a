"""Reads cinderlib's tables, in one read-only transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from csi_cinderlib.adoption.database import foreign
from csi_cinderlib.adoption.rows import OPTIONAL, REQUIRED, Tables, missing
from csi_cinderlib.errors import ConfigurationError, Problem
from csi_cinderlib.persistence.sql import looking, server
from csi_cinderlib.persistence.sql.location import URL_KEY, Location, locate, without_driver

KEY = "--url"


def read(url: str) -> tuple[Tables, str]:
    """The rows of the tables that matter, and the URL without its password.

    The source is not changed: SQLite is opened read-only and leaves no file behind, a server gets a read-only transaction, in which all
    tables are read in the same state.

    Args:
        url: as in cinderlib's `connection`; a driver in it (`+psycopg2`) is ignored.

    Raises:
        ConfigurationError: it is not cinderlib's database, or it cannot be read.
        StoreUnavailable: the server cannot be reached, or the file was changed meanwhile.
    """
    try:
        location = locate({"url": without_driver(url)}, Path())
        with looking.look(location) if location.is_file else server.look(location, snapshot=True) as connection:
            return _tables(connection, location), location.shown
    except ConfigurationError as error:
        raise ConfigurationError.of(
            Problem(KEY if key == URL_KEY else key, problem) for key, problem in error.problems
        ) from error


def _tables(connection: Connection | None, location: Location) -> Tables:
    if connection is None:
        raise ConfigurationError(KEY, f"{location.file} does not exist")
    names = frozenset(inspect(connection).get_table_names())
    if absent := [name for name in REQUIRED if name not in names]:
        raise ConfigurationError(
            KEY, f"{location.shown} is not a database of cinderlib: it lacks the tables {', '.join(absent)}"
        )
    if location.is_file:
        _keep_bytes(connection)
    wanted = (*REQUIRED, *(name for name in OPTIONAL if name in names))
    tables = {name: _rows(connection, location, name) for name in wanted}
    if problem := foreign(tables):
        raise ConfigurationError(KEY, f"{location.shown}: table {problem}")
    return tables


def _rows(connection: Connection, location: Location, name: str) -> tuple[dict[str, Any], ...]:
    """All columns, whose set depends on the version of Cinder. Bytes become text, and stay bytes if they are not UTF-8."""
    result = connection.execute(text(f"SELECT * FROM {name}"))  # noqa: S608  # a constant
    if absent := missing(name, result.keys()):
        raise ConfigurationError(
            KEY, f"{location.shown} is not a database of cinderlib: table {name} lacks the columns {', '.join(absent)}"
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
