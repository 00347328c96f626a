"""SQLite: one file for one process, a write connection with group commit, and a pool of read connections."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from csi_cinderlib.errors import ConfigurationError, DriverError, StoreInUse
from csi_cinderlib.host.reserve import Reserve
from csi_cinderlib.persistence.sql import failures, several
from csi_cinderlib.persistence.sql.database import Write
from csi_cinderlib.persistence.sql.groupcommit import GroupCommit, Job
from csi_cinderlib.persistence.sql.location import URL_KEY, Location
from csi_cinderlib.persistence.sql.migration import Migrated, bring_up_to_date

T = TypeVar("T")
BUSY_SECONDS = 10
"""How long to wait for a lock, for example of a backup tool."""

MOST_IDLE = 16
"""Limit of idle read connections. Each has two open files and up to 2 MB of pages."""

LOG_PAGES = 400
"""Checkpoint interval of the log, in pages of 4 KiB. SQLite's default of 1000 is not faster."""

RESERVED_FILES = 8
RESERVED_SIZE = 512 * 1024
"""In bytes. A checkpoint may need space for all pages of the log, after a transaction was written to it; 4 MiB in total are twice that.
Files are needed for the log and its index, which SQLite removes on close."""


class FileDatabase:
    """See `sql.database.Database`.

    With WAL, readers are not blocked by a write. With synchronous=FULL, each commit survives a power failure.
    """

    shared = False

    def __init__(self, location: Location) -> None:
        self._location = location
        self._path = location.file.absolute()  # the process may change its working directory later
        self._reserve = Reserve(Path(f"{self._path}-reserve"), files=RESERVED_FILES, size=RESERVED_SIZE)
        with ExitStack() as undo:
            self._lock = _LockFile(location.file)
            undo.callback(self._lock.close)
            self._reserve.fill()
            try:
                self._writer, self.migrated = self._reserve.run(self._open, lacks_room=failures.lacks_room)
                undo.callback(self._writer.close)
            except OSError as error:
                raise ConfigurationError(URL_KEY, f"cannot open {location.file}: {error.strerror}") from error
            except (DBAPIError, sqlite3.Error) as error:
                raise failures.at_start(error, location) from error
            undo.pop_all()
        self._place = self._find_place()
        self._idle: list[Connection] = []
        self._commits: GroupCommit[Write] = GroupCommit(self._write_batch)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a separate connection. The most recently used idle connection is reused first."""
        self._check_place()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            result = work(connection)
        except DBAPIError as error:
            connection.close()
            raise failures.while_running(error, self._location) from error
        except BaseException:
            self._give_back(connection)
            raise
        self._give_back(connection)
        return result

    def write(self, work: Write) -> None:
        self._commits.run(work)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._writer.close()  # the last connection checkpoints the WAL
        self._engine.dispose()
        self._lock.close()

    def _find_place(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failures.not_seen(self._location, error) from error
        return found.st_dev, found.st_ino

    def _check_place(self) -> None:
        """Raises StoreUnavailable if the file was replaced: writes to the opened file would be lost when this process ends."""
        if self._find_place() != self._place:
            raise failures.moved(self._location)

    def _give_back(self, connection: Connection) -> None:
        if len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _open(self) -> tuple[Connection, Migrated]:
        os.close(os.open(self._location.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._engine = create_engine(
            self._location.url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        )
        event.listen(self._engine, "connect", _prepare)
        with ExitStack() as undo:
            writer = undo.enter_context(self._engine.connect())
            _script(writer, "BEGIN IMMEDIATE")
            migrated = bring_up_to_date(writer, self._location)
            _script(writer, "COMMIT")
            undo.pop_all()
        return writer, migrated

    def _connect(self) -> Connection:
        try:
            return self._engine.connect()
        except DBAPIError as error:
            raise failures.while_running(error, self._location) from error

    def _write_batch(self, batch: Sequence[Job[Write]]) -> None:
        """Write all jobs in one transaction; if it fails, each in its own, so that a failure affects only its caller."""
        has_room = self._reserve.fill()
        if has_room and len(batch) > 1:
            with suppress(Exception):
                self._check_place()
                return self._transaction(batch)
        for job in batch:
            job.error = None
            try:
                self._check_place()
                self._alone(job)
            except (DBAPIError, sqlite3.Error) as error:
                job.error = failures.while_running(error, self._location)
            except Exception as error:  # raised to the caller of the job
                job.error = error
        return None

    def _alone(self, job: Job[Write]) -> None:
        """Write one job, with the reserved disk space if necessary. A job that starts a new operation cannot use the reserve."""
        if job.work.begins:
            if not self._reserve.fill():
                raise failures.no_room(self._location)
            self._transaction([job])
            return
        try:
            self._transaction([job])
        except (DBAPIError, sqlite3.Error) as error:
            if not failures.lacks_room(error):
                raise
            with self._reserve.released():
                self._transaction([job])
                with suppress(sqlite3.Error):  # else the log occupies the space of the reserve
                    _script(self._writer, "PRAGMA wal_checkpoint(TRUNCATE)")

    def _transaction(self, batch: Sequence[Job[Write]]) -> None:
        self._roll_back()  # a transaction left by an interrupt must not be committed
        if len(batch) == 1:  # a single statement is a transaction
            return batch[0].work.run(self._writer)
        try:
            _script(self._writer, "BEGIN IMMEDIATE")
            written = several.write(self._writer, [job.work.part for job in batch])
            for job in (job for number, job in enumerate(batch) if number not in written):
                try:
                    job.work.run(self._writer)
                except DriverError as error:  # nothing was changed: see Write.run
                    job.error = error
            _script(self._writer, "COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._roll_back()
            raise
        return None

    def _roll_back(self) -> None:
        """Roll back an open transaction. After some errors SQLite has done so already."""
        driver: Any = self._writer.connection.driver_connection
        if driver.in_transaction:
            driver.execute("ROLLBACK")


def _script(connection: Connection, statement: str) -> None:
    """Execute without SQLAlchemy, which cannot begin a transaction on an AUTOCOMMIT connection."""
    driver: Any = connection.connection.driver_connection
    driver.execute(statement)


def _prepare(driver: sqlite3.Connection, _record: object) -> None:
    (mode,) = driver.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(
            f"the file system does not support SQLite's write-ahead log (journal mode {mode!r})"
        )
    driver.execute("PRAGMA synchronous=FULL")
    driver.execute("PRAGMA foreign_keys=ON")
    driver.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")


class _LockFile:
    """Ensures exclusive use by one process: locks FILE.lock until `close` or the end of the process.

    Raises:
        StoreInUse: another process holds the lock; names the file and the process.
        ConfigurationError: the file cannot be locked.
    """

    def __init__(self, database: Path) -> None:
        path = Path(f"{database.resolve()}.lock")  # the same for each name of the file
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(URL_KEY, f"cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip()
            os.close(self._fd)
            if not isinstance(error, BlockingIOError):
                raise ConfigurationError(URL_KEY, f"cannot lock {path}: {error.strerror}") from error
            raise _refusal(database, holder) from None
        with suppress(OSError):  # without it, the error of a second process names no pid
            os.pwrite(self._fd, f"{os.getpid():<31}\n".encode(), 0)
        _held.add(self)

    def close(self) -> None:
        """Unlock, but keep the file: after removing it, two processes could lock different files of the same name."""
        _held.discard(self)
        os.close(self._fd)


_held: weakref.WeakSet[_LockFile] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """A forked child inherits the lock, and would hold it after the end of its parent."""
    for lock in list(_held):
        lock.close()


os.register_at_fork(after_in_child=_leave_to_parent)


def _refusal(database: Path, holder: str) -> StoreInUse:
    refusal = StoreInUse(
        URL_KEY,
        f"{database} is in use by another process{f' (pid {holder})' if holder else ''}; stop that process, use another state directory, "
        "or use a database server, which several processes can share",
    )
    refusal.holder = int(holder) if holder.isdecimal() else None
    return refusal
