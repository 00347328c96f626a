"""Reads an SQLite file without changing its directory: next to the process that uses it, after a crash, or on a read-only file system.

SQLite's read-only mode is not sufficient: it creates missing files of the write-ahead log and leaves them there. Files of other programs,
such as cinderlib, have a rollback journal instead of a log. They are read directly, with SQLite's locks. A journal of a process that has
crashed can only be rolled back in a copy.

| log | index | how the file is read |
| --- | --- | --- |
| exists | exists | directly; the index is mapped read-only, or rebuilt in memory. The file is in use, or the process has crashed |
| empty or missing | missing | directly; the process has ended and checkpointed the log |
| exists | missing | from a copy, for which SQLite creates the index. The directory was copied incompletely |
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from csi_cinderlib.errors import ConfigurationError, StoreUnavailable
from csi_cinderlib.host import removal
from csi_cinderlib.persistence.sql import failures
from csi_cinderlib.persistence.sql.location import URL_KEY, Location
from csi_cinderlib.persistence.sql.query import execute_in_sqlite

BUSY_SECONDS = 10
ATTEMPTS = 3
"""Attempts to open a file whose process is starting or ending."""


@dataclass(frozen=True, slots=True)
class _State:
    """The files of a database on disk.

    Attributes:
        mark: inode, size and modification time of the database file; changes when the file is written.
        has_journal: a transaction is in progress, or its process has crashed.
    """

    mark: tuple[int, int, int]
    has_log: bool
    has_index: bool
    uses_log: bool
    has_journal: bool

    @property
    def needs_copy(self) -> bool:
        return self.has_log and not self.has_index

    @property
    def is_at_rest(self) -> bool:
        return self.uses_log and not self.has_index and not self.has_log


@contextmanager
def look(location: Location) -> Iterator[Connection | None]:
    """Open a connection, for one thread, to a consistent state of the file. Yields None if the file does not exist.

    Raises:
        ConfigurationError: the file cannot be read, or is not a database.
        StoreUnavailable: the file was changed while it was read, so the result may be inconsistent.
    """
    path = location.file.resolve()  # SQLite keeps its other files beside the file, not beside a link to it
    with ExitStack() as undo:
        state = _state(location, path)
        if state is None:
            yield None
            return
        connection, state = _opened(location, path, state, undo)
        try:
            yield connection
        except DBAPIError as error:
            _check_unchanged(location, path, state)
            raise failures.at_start(error, location) from error
        _check_unchanged(location, path, state)


def _opened(location: Location, path: Path, state: _State, undo: ExitStack) -> tuple[Connection, _State]:
    for attempt in range(ATTEMPTS):
        with ExitStack() as this:
            try:
                connection = _begin(path, state, this)
            except (DBAPIError, OSError) as error:
                changed = _state(location, path)
                if changed is None or changed == state or attempt == ATTEMPTS - 1:
                    raise _refusal(location, error) from error
                state = changed
                continue
            undo.push(this.pop_all())
            return connection, state
    raise AssertionError("unreachable")


def _begin(path: Path, state: _State, undo: ExitStack) -> Connection:
    """Connect and open a read transaction, so that all reads see the same state."""
    if state.needs_copy:
        return _connected(_copied(path, "-wal", undo), "mode=rw", undo)
    if state.is_at_rest:
        return _connected(path, "mode=ro&immutable=1", undo)
    try:
        return _connected(path, "mode=ro&readonly_shm=1", undo)
    except DBAPIError:
        if not state.has_journal:
            raise
    return _connected(_copied(path, "-journal", undo), "mode=rw", undo)


def _copied(path: Path, log: str, undo: ExitStack) -> Path:
    """A copy of a database with its log, in which SQLite can create files and roll back."""
    directory = undo.enter_context(removal.temporary_directory("csi-cinderlib-"))
    for suffix in ("", log):
        shutil.copyfile(f"{path}{suffix}", f"{directory / path.name}{suffix}")
    return directory / path.name


def _connected(path: Path, options: str, undo: ExitStack) -> Connection:
    engine = create_engine(
        "sqlite+pysqlite://",
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        creator=lambda: sqlite3.connect(f"{path.as_uri()}?{options}", uri=True, timeout=BUSY_SECONDS),
    )
    undo.callback(engine.dispose)
    connection = undo.enter_context(engine.connect())
    execute_in_sqlite(connection, "BEGIN")
    execute_in_sqlite(connection, "SELECT count(*) FROM sqlite_schema")
    return connection


def has_table(path: Path, name: str) -> bool:
    """Whether the file certainly has this table. A fast check, without the log."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).fetchone())
    except sqlite3.Error:  # another program is writing, or it is no database; `look` tells
        return False


def _state(location: Location, path: Path) -> _State | None:
    """Return None if the file does not exist. Raises ConfigurationError."""
    try:
        found = path.stat()
        uses_log = _uses_log(path)
        journal = _size(Path(f"{path}-journal"))
        log, index = _size(Path(f"{path}-wal")), _size(Path(f"{path}-shm"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(location, error) from None
    # After a checkpoint the log is empty and the index still exists. Without a log the index is useless.
    return _State(
        (found.st_ino, found.st_size, found.st_mtime_ns),
        bool(log),
        index is not None and log is not None,
        uses_log,
        bool(journal),
    )


def _uses_log(path: Path) -> bool:
    """Whether the header says that the database has a write-ahead log (https://www.sqlite.org/fileformat.html, 1.3)."""
    with path.open("rb") as file:
        return file.read(19)[18:] == b"\2"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _check_unchanged(location: Location, path: Path, state: _State) -> None:
    """Raises StoreUnavailable if a file that was read without locks has been written."""
    now = _state(location, path)
    if (state.is_at_rest or state.needs_copy or state.has_journal) and (now is None or now.mark != state.mark):
        raise StoreUnavailable(f"the metadata store {path} was changed while it was read; run the command again")


def _refusal(location: Location, error: Exception) -> Exception:
    if isinstance(error, PermissionError) or (not isinstance(error, OSError) and not os.access(location.file, os.R_OK)):
        return ConfigurationError(
            URL_KEY, f"cannot read {location.file}: permission denied; run the command as the owner of the file"
        )
    if isinstance(error, OSError):
        return ConfigurationError(URL_KEY, f"cannot read {location.file}: {error.strerror}")
    return failures.at_start(error, location)
