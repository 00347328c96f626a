"""The plugin `sql`, and the migration by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.sql import server, sqlite
from csi_cinderlib.persistence.sql.location import Location, locate
from csi_cinderlib.persistence.sql.migration import Migrated
from csi_cinderlib.persistence.sql.server import ServerDatabase
from csi_cinderlib.persistence.sql.sqlite import FileDatabase
from csi_cinderlib.persistence.sql.store import SqlStore


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


def check(options: Mapping[str, object], *, state_dir: Path) -> str:
    """Where `open_store` would find the database, without the password, once it is sure that it could; changes nothing.

    Raises:
        what `open_store` raises, except that a SQLite file may be in use.
    """
    location = locate(options, state_dir)
    if location.is_file:
        sqlite.look(location)
    else:
        server.look(location)
    return location.shown


def _database(location: Location) -> FileDatabase | ServerDatabase:
    return FileDatabase(location) if location.is_file else ServerDatabase(location)
