"""What only PostgreSQL, MariaDB and MySQL have: passwords, rights, pools, deadlocks, answers that get lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from csi_cinderlib.errors import AlreadyExists, ConfigurationError, StoreUnavailable
from csi_cinderlib.model.records import KeyValue, Provider, Volume
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.sql import look, migrate
from csi_cinderlib.persistence.sql.location import Location, locate
from csi_cinderlib.persistence.sql.migration import Migrated, upgrade
from csi_cinderlib.persistence.sql.schema import HEAD, METADATA, VERSION_TABLE
from csi_cinderlib.persistence.sql.server import ServerDatabase
from csi_cinderlib.persistence.sql.several import Part
from csi_cinderlib.persistence.sql.store import SqlStore
from tests.support.fakes.canaries import CHAP
from tests.support.ports import free_port
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import PASSWORD, Server


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With a database without tables."""
    server: Server = request.getfixturevalue(request.param)
    server.renew_database()
    yield server
    server.altered = True


@pytest.fixture
def location(server: Server, tmp_path: Path) -> Location:
    return locate({"url": server.url, "pool_size": 4, "statement_timeout": 60.0}, tmp_path)


@pytest.fixture
def database(location: Location) -> Iterator[ServerDatabase]:
    database = ServerDatabase(location)
    yield database
    database.close()


@pytest.fixture
def impatient(location: Location) -> Iterator[ServerDatabase]:
    """A statement, and a connection that is asked for, may take 5 seconds."""
    database = ServerDatabase(replace(location, statement_timeout=5.0))
    yield database
    database.close()


def url(server: Server, *, user: str = "csi", password: str = PASSWORD, port: int = 0, name: str = "csi") -> str:
    dialect = server.url.partition(":")[0]
    return f"{dialect}://{user}:{quote(password, safe='')}@127.0.0.1:{port or server.port}/{name}"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"password": "wrong-secret"}, "the password is wrong, or the user is unknown"),
        ({"user": "nobody", "password": "wrong-secret"}, "the password is wrong, or the user is unknown"),
        ({"name": "absent"}, "the database does not exist|no privileges on this database"),
    ],
    ids=str,
)
def test_a_refused_login_says_what_to_do_and_not_the_password(
    server: Server, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store("sql", {"url": url(server, **wrong)}, state_dir=tmp_path)
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    for secret in ("wrong-secret", PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in shown


def test_a_user_without_rights_is_told_which(server: Server, tmp_path: Path) -> None:
    poor = "poor@'%%'" if not isinstance(server, PostgreSQL) else "poor"
    with suppress(Exception):
        server.query(f"DROP USER {poor}".replace("%%", "%"), database=server.system_database)
    if isinstance(server, PostgreSQL):
        server.query("CREATE ROLE poor LOGIN PASSWORD 'poor-secret'", database=server.system_database)
    else:
        server.query("CREATE USER poor@'%' IDENTIFIED BY 'poor-secret'", database=server.system_database)
        server.query("GRANT SELECT ON csi.* TO poor@'%'", database=server.system_database)
    with pytest.raises(ConfigurationError, match="privileges") as caught:
        open_store("sql", {"url": url(server, user="poor", password="poor-secret")}, state_dir=tmp_path)
    assert "poor-secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable_rather_than_misconfigured(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as caught:
        open_store("sql", {"url": url(server, port=free_port())}, state_dir=tmp_path)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "module", "extra"), [("postgresql", "psycopg", "postgresql"), ("mysql", "pymysql", "mysql")]
)
def test_a_missing_driver_package_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=rf"'{module}': pip install 'csi-cinderlib\[{extra}\]'"):
        open_store("sql", {"url": f"{dialect}://u:p@127.0.0.1/d"}, state_dir=tmp_path)


@pytest.mark.parametrize("way", ["created", "migrated"])
def test_new_and_migrated_tables_are_what_the_program_uses(
    server: Server, location: Location, tmp_path: Path, way: str
) -> None:
    engine = create_engine(location.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if way == "migrated":
            upgrade(connection)
        assert migrate({"url": server.url}, state_dir=tmp_path) == Migrated(HEAD if way == "migrated" else "", HEAD)
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": False})
        assert compare_metadata(context, METADATA) == []
        rules = {
            key["name"]: key["options"].get("ondelete")
            for name in METADATA.tables
            for key in inspect(connection).get_foreign_keys(name)
        }
    engine.dispose()
    assert rules in (
        {"fk_snapshots_volume": "RESTRICT", "fk_attachments_volume": "CASCADE"},
        {"fk_snapshots_volume": None, "fk_attachments_volume": "CASCADE"},  # MariaDB does not show its default
    )


def test_many_replicas_that_start_at_once_migrate_once(server: Server, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from csi_cinderlib.persistence.sql import migrate;"
        f"print(migrate({{'url': {server.url!r}}}, state_dir=pathlib.Path({str(tmp_path)!r})).before or 'new')"
    )
    children = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [child.communicate(timeout=120)[0].strip() for child in children]
    assert sorted(answers) == [HEAD, HEAD, HEAD, "new"]


def test_a_migration_that_was_killed_is_finished(server: Server, tmp_path: Path) -> None:
    migrate({"url": server.url}, state_dir=tmp_path)
    server.query(f"DROP TABLE {VERSION_TABLE}")
    server.query("DROP TABLE nodes")
    server.query("DROP INDEX ix_volumes_name" + ("" if isinstance(server, PostgreSQL) else " ON volumes"))
    assert migrate({"url": server.url}, state_dir=tmp_path) == Migrated("", HEAD)
    store = open_store("sql", {"url": server.url, "migrate": False}, state_dir=tmp_path)
    assert store.page(Volume, where={"name": "x"}).records == ()
    store.close()


def test_an_older_program_leaves_a_newer_schema_alone(server: Server, tmp_path: Path) -> None:
    migrate({"url": server.url}, state_dir=tmp_path)
    server.query(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="has schema '9999' of a newer csi-cinderlib") as caught:
        open_store("sql", {"url": server.url}, state_dir=tmp_path)
    assert PASSWORD not in str(caught.value)


def look_at(options: Mapping[str, object], *, state_dir: Path) -> None:
    with look(options, state_dir=state_dir, sealer=None):
        pass


def test_tables_of_another_program_are_refused_and_left_alone(server: Server, tmp_path: Path) -> None:
    owner = server.connect_as_owner()
    with owner.cursor() as cursor:  # as cinderlib made them, in oVirt's database say
        cursor.execute("CREATE TABLE snapshots (id VARCHAR(36) PRIMARY KEY, volume_id VARCHAR(36), deleted INT)")
        cursor.execute("CREATE TABLE key_value (id INT, value TEXT)")
    owner.close()
    for call in (look_at, migrate, lambda options, state_dir: open_store("sql", options, state_dir=state_dir)):
        with pytest.raises(
            ConfigurationError, match=r"contains tables of another program.*\(snapshots\); create a separate"
        ) as caught:
            call({"url": server.url}, state_dir=tmp_path)
        assert PASSWORD not in str(caught.value)
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s ORDER BY 1"
    found = server.query(names, "public" if isinstance(server, PostgreSQL) else "csi")
    assert found == [("key_value",), ("snapshots",)]


def test_a_statement_that_waits_too_long_is_given_up_and_its_values_are_not_shown(
    server: Server, database: ServerDatabase, impatient: ServerDatabase
) -> None:
    store = SqlStore(database)
    stored = store.add(volume("0001"))
    blocker = server.connect("csi")
    with blocker.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM volumes FOR UPDATE")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        SqlStore(impatient).replace(replace(stored, provider=Provider(auth=f"CHAP me {CHAP}")))
    assert time.monotonic() - started < 60
    shown = "".join(traceback.format_exception(caught.value))
    assert "UPDATE volumes" in shown
    assert CHAP not in shown
    blocker.close()
    assert store.replace(stored).id == "0001"


def test_a_busy_pool_is_said_to_be_busy(impatient: ServerDatabase) -> None:
    held, let_go = threading.Semaphore(0), threading.Event()

    def hold(connection: Connection) -> None:
        held.release()
        let_go.wait()

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(impatient.read, hold)
            held.acquire()
        with pytest.raises(StoreUnavailable, match=r"all 4 connections .*pool_size"):
            impatient.read(lambda connection: None)
        let_go.set()
    assert impatient.read(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1


@dataclass
class Crossing:
    """Locks two rows, the second one once its opponent holds it: of two such, one is the server's victim."""

    first: str
    second: str
    meet: threading.Barrier
    attempts: list[str] = field(default_factory=list)
    begins: bool = False
    part: Part = Part("key_values", "")

    def run(self, connection: Connection) -> None:
        self.attempts.append(self.first)
        try:
            connection.execute(text("BEGIN"))
            for id in (self.first, self.second):
                connection.execute(
                    text("UPDATE key_values SET body = '{}' WHERE id = :id"),
                    {"id": id.encode() if self._bytes(connection) else id},
                )
                if len(self.attempts) == 1:
                    with suppress(threading.BrokenBarrierError):
                        self.meet.wait(0.5 if id == self.second else 60)
            connection.execute(text("COMMIT"))
        except BaseException:
            connection.execute(text("ROLLBACK"))
            raise

    def _bytes(self, connection: Connection) -> bool:
        return connection.dialect.name != "postgresql"

    def is_done(self, connection: Connection) -> bool:
        return False


def test_the_victim_of_a_deadlock_tries_again(database: ServerDatabase) -> None:
    store = SqlStore(database)
    for id in "ab":
        store.add(KeyValue(id=id, value="x"))
    meet = threading.Barrier(2)
    works = [Crossing("a", "b", meet), Crossing("b", "a", meet)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(database.write, work) for work in works]:
            done.result()
    # The victim may be quicker than the one that waits for its lock, and meet it again.
    assert max(len(work.attempts) for work in works) >= 2


@dataclass
class Cut:
    """A write of the store whose connection breaks after it was carried out and before the answer arrives."""

    inner: Any
    server: Server
    runs: int = 0
    begins: bool = False

    def run(self, connection: Connection) -> None:
        self.inner.run(connection)
        self.runs += 1
        if self.runs == 1:
            own = "SELECT pg_backend_pid()" if isinstance(self.server, PostgreSQL) else "SELECT CONNECTION_ID()"
            number = connection.execute(text(own)).scalar()
            self.server.query(
                f"SELECT pg_terminate_backend({number})" if isinstance(self.server, PostgreSQL) else f"KILL {number}"
            )
            connection.execute(text(own))

    def is_done(self, connection: Connection) -> bool:
        done: bool = self.inner.is_done(connection)
        return done


@pytest.mark.parametrize("call", ["add", "replace", "remove"])
def test_a_write_whose_answer_was_lost_counts_as_done(
    server: Server, database: ServerDatabase, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = SqlStore(database)
    record = volume("0001") if call == "add" else store.add(volume("0001"))
    write: Callable[[Any], None] = database.write
    monkeypatch.setattr(database, "write", lambda work: write(Cut(work, server)))
    answer = getattr(store, call)(record)
    monkeypatch.undo()
    found = store.page(Volume).records
    assert found == (() if call == "remove" else (answer,))


def test_somebody_elses_record_is_not_taken_for_ones_own_lost_write(server: Server, database: ServerDatabase) -> None:
    store = SqlStore(database)
    other = store.add(volume("0001", owner="other"))

    @dataclass
    class CutBefore(Cut):
        def run(self, connection: Connection) -> None:
            self.runs += 1
            if self.runs == 1:
                own = "SELECT pg_backend_pid()" if isinstance(self.server, PostgreSQL) else "SELECT CONNECTION_ID()"
                number = connection.execute(text(own)).scalar()
                self.server.query(
                    f"SELECT pg_terminate_backend({number})"
                    if isinstance(self.server, PostgreSQL)
                    else f"KILL {number}"
                )
            self.inner.run(connection)

    write: Callable[[Any], None] = database.write
    database.write = lambda work: write(CutBefore(work, server))  # type: ignore[method-assign]
    with pytest.raises(AlreadyExists):
        store.add(replace(other, owner="me"))
    assert store.get(Volume, "0001") == other
