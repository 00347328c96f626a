"""The plugin `sql`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from csi_cinderlib.persistence.api import Sealer, Store
from csi_cinderlib.persistence.sql.location import locate
from csi_cinderlib.persistence.sql.sqlite import FileDatabase
from csi_cinderlib.persistence.sql.store import SqlStore


def open_store(options: Mapping[str, object], *, state_dir: Path, sealer: Sealer | None) -> Store:
    """Open the database of `options` (see `sql.location.Location`), by default SQLite in the state directory.

    Raises:
        ConfigurationError: an option, the password, the rights or the schema are wrong, or the SQLite file is in use.
        StoreUnavailable: the server cannot be reached right now.
    """
    location = locate(options, state_dir)
    return SqlStore(FileDatabase(location), sealer)
