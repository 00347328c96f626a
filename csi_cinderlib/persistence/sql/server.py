"""PostgreSQL, MySQL and MariaDB: a connection pool, one transaction per statement, and retries where they are safe."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, false, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from csi_cinderlib.errors import ConfigurationError, DriverError, StoreUnavailable
from csi_cinderlib.persistence.sql import failures
from csi_cinderlib.persistence.sql.database import Write
from csi_cinderlib.persistence.sql.location import DRIVERS, URL_KEY, Location
from csi_cinderlib.persistence.sql.migration import Migrated, bring_up_to_date, version_of
from csi_cinderlib.persistence.sql.schema import HEAD, TABLES, VERSION_TABLE

T = TypeVar("T")
ATTEMPTS = 6
"""Attempts for a statement that fails because of concurrent ones (deadlock, serialization failure)."""
RECONNECTS = 2
"""Attempts after a broken connection. A server restart breaks all connections of the pool; the first failure invalidates the pool."""
MIGRATION_SECONDS = 300
"""How long to wait for a migration by another process."""


class ServerDatabase:
    """See `sql.database.Database`.

    Each write has a unique revision. After a broken connection the write is repeated; if the repetition is refused, the stored
    revision shows whether the first attempt succeeded.
    """

    shared = True

    def __init__(self, location: Location) -> None:
        self._location = location
        self._engine = _engine(
            location,
            pool_size=location.pool_size,
            max_overflow=0,
            pool_timeout=location.statement_timeout,
            pool_use_lifo=True,
            pool_reset_on_return=None,  # AUTOCOMMIT leaves nothing to roll back
        )
        try:
            self.migrated = self._migrate()
            with self._engine.connect() as connection:
                check_rights(connection)
        except DBAPIError as error:
            self.close()
            raise failures.at_start(error, location) from error
        except DriverError:
            self.close()
            raise

    def read(self, work: Callable[[Connection], T]) -> T:
        return self._attempt(lambda connection, _: work(connection))

    def write(self, work: Write) -> None:
        def run(connection: Connection, lost: bool) -> None:
            try:
                work.run(connection)
            except DriverError:
                if not (lost and work.is_done(connection)):
                    raise

        self._attempt(run)

    def close(self) -> None:
        self._engine.dispose()

    def _attempt(self, work: Callable[[Connection, bool], T]) -> T:
        """Run `work` with retries. Its second argument tells whether the answer of an earlier attempt was lost."""
        lost = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._engine.connect() as connection:
                    return work(connection, lost > 0)
            except PoolTimeout as error:
                raise StoreUnavailable(
                    f"all {self._location.pool_size} connections to {self._location.shown} are busy; see store.options.pool_size"
                ) from error
            except DBAPIError as error:
                lost += error.connection_invalidated
                again = lost <= RECONNECTS if error.connection_invalidated else failures.is_worth_another_try(error)
                if not again or attempt == ATTEMPTS:
                    raise failures.while_running(error, self._location) from error
                time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311  # jitter after a collision
        raise AssertionError("unreachable")

    def _migrate(self) -> Migrated:
        with self._engine.connect() as connection:
            if version_of(connection) == HEAD:
                return Migrated(HEAD, HEAD)
        engine = _engine(self._location, migrating=True, poolclass=NullPool)
        with engine.connect() as connection, _alone(connection):
            return bring_up_to_date(connection, self._location)


@contextmanager
def look(location: Location, *, snapshot: bool = False) -> Iterator[Connection]:
    """Open a connection for reading. Raises the errors of ServerDatabase.

    Args:
        snapshot: use a read-only transaction in which all reads see the state of the first statement.
    """
    engine = _engine(location, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield _snapshot(connection) if snapshot else connection
    except DBAPIError as error:
        raise failures.at_start(error, location) from error
    finally:
        engine.dispose()


def _snapshot(connection: Connection) -> Connection:
    if connection.dialect.name == "postgresql":
        return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    connection.execute(text("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    connection.execute(text("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"))
    return connection


@contextmanager
def _alone(connection: Connection) -> Any:
    """Lock against migrations by other processes until the connection ends. PostgreSQL migrates in one transaction, MySQL cannot."""
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": VERSION_TABLE})
            yield
        return
    got = connection.execute(
        text("SELECT GET_LOCK(LEFT(CONCAT(:name, DATABASE()), 64), :seconds)"),
        {"name": f"{VERSION_TABLE}.", "seconds": MIGRATION_SECONDS},
    ).scalar()
    if got != 1:
        raise StoreUnavailable(
            f"cannot migrate the metadata store: another process has been migrating it for more than {MIGRATION_SECONDS} s"
        )
    yield


def _engine(location: Location, *, migrating: bool = False, **pool: Any) -> Engine:
    dialect = location.url.get_backend_name()
    make = _postgresql if dialect == "postgresql" else _mysql
    try:
        return make(location, migrating, isolation_level="AUTOCOMMIT", hide_parameters=True, **pool)
    except ModuleNotFoundError as missing:
        extra = DRIVERS[dialect][1]
        raise ConfigurationError(
            URL_KEY,
            f"{dialect} needs the Python module {missing.name!r}: pip install 'csi-cinderlib[{extra}]'",
        ) from missing


def _postgresql(location: Location, migrating: bool, **options: Any) -> Engine:
    patience = 0 if migrating else int(location.statement_timeout * 1000)
    arguments = {
        "application_name": "csi-cinderlib",
        "connect_timeout": int(location.connect_timeout),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 0
        if migrating
        else patience + 5000,  # detect a lost server also while waiting for an answer
        "options": f"-c statement_timeout={patience}",
    }
    given = {name: value for name, value in arguments.items() if name not in location.url.query}
    return create_engine(location.url, connect_args=given, **options)


def _mysql(location: Location, migrating: bool, **options: Any) -> Engine:
    patience = location.statement_timeout
    timeout = None if migrating else patience + 5
    arguments = {
        "charset": "utf8mb4",
        "connect_timeout": int(location.connect_timeout),
        "read_timeout": timeout,
        "write_timeout": timeout,
    }
    given = {name: value for name, value in arguments.items() if name not in location.url.query}
    engine = create_engine(location.url, connect_args=given, **options)

    @event.listens_for(engine, "connect")
    def prepare(driver: Any, _record: object) -> None:
        is_mariadb = "MariaDB" in driver.get_server_info()
        limit = f"max_statement_time = {patience}" if is_mariadb else f"max_execution_time = {int(patience * 1000)}"
        with driver.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")  # fewer gap locks, fewer deadlocks
            cursor.execute("SET SESSION foreign_key_checks = 1, sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {max(1, int(patience))}")
            if not migrating:
                cursor.execute(f"SET SESSION {limit}")

    return engine


def check_rights(connection: Connection) -> None:
    """Run each kind of write on each table without changing a row, so that a missing privilege is detected at start.

    Raises:
        DBAPIError: the database user lacks a privilege.
    """
    for table in TABLES.values():
        nothing = select(table).where(false())
        connection.execute(table.insert().from_select([*table.c.keys()], nothing))
        connection.execute(table.update().where(false()).values(revision=table.c.revision))
        connection.execute(table.delete().where(false()))
