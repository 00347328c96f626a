"""The plugin `sql`, manual migration, and read-only access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from csi_cinderlib.errors import ConfigurationError, StoreUnavailable
from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.sql import looking, server
from csi_cinderlib.persistence.sql.database import Write
from csi_cinderlib.persistence.sql.location import URL_KEY, Location, locate
from csi_cinderlib.persistence.sql.migration import Migrated, check_readable, check_version
from csi_cinderlib.persistence.sql.schema import HEAD, VERSION_TABLE
from csi_cinderlib.persistence.sql.server import ServerDatabase
from csi_cinderlib.persistence.sql.sqlite import FileDatabase
from csi_cinderlib.persistence.sql.store import ServerStore, SqlStore

T = TypeVar("T")


def open_store(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:
    """Open the database of `options` (see `sql.location.Location`), by default SQLite in the state directory.

    Raises:
        ConfigurationError: an option, the password, the privileges or the schema are wrong, or the SQLite file is in use.
        StoreUnavailable: the server cannot be reached right now.
    """
    location = locate(options, state_dir)
    kind = SqlStore if location.is_file else ServerStore
    return kind(_database(location), sealer)


def migrate(options: Mapping[str, object], *, state_dir: Path) -> Migrated:
    """Migrate the schema regardless of the option `migrate`. Raises the errors of `open_store`."""
    database = _database(replace(locate(options, state_dir), migrate=True))
    database.close()
    return database.migrated


@contextmanager
def look(
    options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None
) -> Iterator[tuple[str, Store | None]]:
    """Yield the location that `open_store` would use, without the password, and a store for reading if it already exists.

    Changes nothing. Raises the errors of `open_store`, except for an SQLite file in use.
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
    """Read a consistent state of the records in one thread, even while other processes use them. Needs only read privileges.

    Raises:
        ConfigurationError: there is no metadata store, or its schema is not current.
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
    """A read-only `sql.database.Database` for one thread."""

    shared = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, work: Callable[[Connection], T]) -> T:
        return work(self._connection)

    def write(self, work: Write) -> None:
        raise AssertionError(f"{work}: the store is open for reading only")

    def close(self) -> None:
        """The caller closes the connection."""


def _database(location: Location) -> FileDatabase | ServerDatabase:
    if not location.is_file:
        return ServerDatabase(location)
    _refuse_foreign(location)
    return FileDatabase(location)


def _refuse_foreign(location: Location) -> None:
    """Raises ConfigurationError for a file of another program, before it is changed: opening switches it to a write-ahead log."""
    if not location.file.is_file() or looking.has_table(location.file, VERSION_TABLE):
        return
    try:
        with looking.look(location) as connection:
            if connection is not None:
                check_version(connection, location)
    except StoreUnavailable:
        if not Path(f"{location.file.resolve()}.lock").exists():
            raise
        # Another process of this program is creating its store. The lock is taken next, and names that process.
