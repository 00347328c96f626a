"""The plugin `sql`, the migration by hand, and a look that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.sql import looking, server
from csi_cinderlib.persistence.sql.database import Write
from csi_cinderlib.persistence.sql.location import URL_KEY, Location, locate
from csi_cinderlib.persistence.sql.migration import Migrated, check_readable, check_version
from csi_cinderlib.persistence.sql.schema import HEAD
from csi_cinderlib.persistence.sql.server import ServerDatabase
from csi_cinderlib.persistence.sql.sqlite import FileDatabase
from csi_cinderlib.persistence.sql.store import SqlStore

T = TypeVar("T")


def open_store(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:
    """Open the database of `options` (see `sql.location.Location`), by default SQLite in the state directory.

    Raises:
        ConfigurationError: an option, the password, the rights or the schema are wrong, or the SQLite file is in use.
        StoreUnavailable: the server cannot be reached right now.
    """
    return SqlStore(_database(locate(options, state_dir)), sealer)


def migrate(options: Mapping[str, object], *, state_dir: Path) -> Migrated:
    """Bring the schema up to date, whatever the option `migrate` says. Raises what `open_store` raises."""
    database = _database(replace(locate(options, state_dir), migrate=True))
    database.close()
    return database.migrated


@contextmanager
def look(
    options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None
) -> Iterator[tuple[str, Store | None]]:
    """Where `open_store` would find the database, without the password, and a store for reading if there is one already.

    Changes nothing.

    Raises:
        what `open_store` raises, except that a SQLite file may be in use.
    """
    location = locate(options, state_dir)
    with looking.look(location) if location.is_file else server.look(location) as connection:
        if connection is None or check_version(connection, location) != HEAD:
            yield location.shown, None
            return
        if not location.is_file:
            server.check_rights(connection)
        yield location.shown, SqlStore(_Reading(connection), sealer)


@contextmanager
def read(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Iterator[Store]:
    """The records of one moment, for one thread, beside every process that uses them. Needs no right but to read; changes nothing.

    Raises:
        ConfigurationError: there is no metadata store, or its schema is not this program's.
        StoreUnavailable: the server cannot be reached, or the file was changed while it was read.
    """
    location = locate(options, state_dir)
    with looking.look(location) if location.is_file else server.look(location, snapshot=True) as connection:
        if connection is None:
            place = f"no metadata store at {location.file.parent} (looked for {location.file.name})"
            raise ConfigurationError(URL_KEY if options.get("url") else "state_dir", place)
        check_readable(connection, location)
        yield SqlStore(_Reading(connection), sealer)


class _Reading:
    """See `sql.database.Database`; of one thread."""

    shared = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, work: Callable[[Connection], T]) -> T:
        return work(self._connection)

    def write(self, work: Write) -> None:
        raise AssertionError(f"{work} while the store is only looked at")

    def close(self) -> None:
        """Whoever looks closes the connection."""


def _database(location: Location) -> FileDatabase | ServerDatabase:
    return FileDatabase(location) if location.is_file else ServerDatabase(location)
