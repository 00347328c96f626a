"""Reads a SQLite file without changing anything in its directory: beside its process, after a crash, on a read-only file system.

SQLite's own read-only mode is not enough: it makes the files of the write-ahead log where they are missing, and leaves them there.

| log | its index | the file is read |
| --- | --- | --- |
| there | there | beside its process, or after a crash: the index is mapped read-only, or rebuilt in memory |
| empty or missing | missing | as it is: its process has ended, and has folded the log in |
| there | missing | from a copy, in which SQLite makes the index: a directory that was copied in part |
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
"""To open a file whose process starts or ends at that moment."""


@dataclass(frozen=True, slots=True)
class _State:
    """What of a database is on the disk.

    Attributes:
        mark: of the file itself: changes when something is written to it.
    """

    mark: tuple[int, int, int]
    has_log: bool
    has_index: bool

    @property
    def needs_copy(self) -> bool:
        return self.has_log and not self.has_index

    @property
    def is_at_rest(self) -> bool:
        return not self.has_index and not self.has_log


@contextmanager
def look(location: Location) -> Iterator[Connection | None]:
    """A connection to one consistent state of the file, of one thread; None if there is no file.

    Raises:
        ConfigurationError: the file cannot be read, or is no database.
        StoreUnavailable: it was changed meanwhile in a way that makes what was read doubtful.
    """
    path = location.file.absolute()
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
    """With a read transaction open, so that all that is read is of one moment."""
    options = "mode=ro&readonly_shm=1"
    if state.needs_copy:
        directory = undo.enter_context(removal.temporary_directory("csi-cinderlib-"))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{directory / path.name}{suffix}")
        path, options = directory / path.name, "mode=rw"
    elif state.is_at_rest:
        options = "mode=ro&immutable=1"
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


def _state(location: Location, path: Path) -> _State | None:
    """None when there is no file. Raises ConfigurationError."""
    try:
        found = path.stat()
        log, index = _size(Path(f"{path}-wal")), _size(Path(f"{path}-shm"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refusal(location, error) from None
    # A process that has just emptied its log has an index still; without a log the index is of no use.
    return _State((found.st_ino, found.st_size, found.st_mtime_ns), bool(log), index is not None and log is not None)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _check_unchanged(location: Location, path: Path, state: _State) -> None:
    """A file that was read as it is, without locks, must not have been written to. Raises StoreUnavailable."""
    now = _state(location, path)
    if (state.is_at_rest or state.needs_copy) and (now is None or now.mark != state.mark):
        raise StoreUnavailable(f"the metadata store {path} was changed while it was read: run the command again")


def _refusal(location: Location, error: Exception) -> Exception:
    if isinstance(error, PermissionError) or (not isinstance(error, OSError) and not os.access(location.file, os.R_OK)):
        return ConfigurationError(URL_KEY, f"{location.file} cannot be read: permission denied; run this as its owner")
    if isinstance(error, OSError):
        return ConfigurationError(URL_KEY, f"{location.file} cannot be read: {error.strerror}")
    return failures.at_start(error, location)
