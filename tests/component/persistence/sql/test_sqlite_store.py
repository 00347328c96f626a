from __future__ import annotations

import errno
import resource
import sqlite3
import stat
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

import csi_cinderlib.persistence.sql
from csi_cinderlib.errors import AlreadyExists, ConfigurationError, DriverError, StoreUnavailable
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.sql import failures, look, migrate
from csi_cinderlib.persistence.sql.location import locate
from csi_cinderlib.persistence.sql.migration import upgrade
from csi_cinderlib.persistence.sql.schema import HEAD, METADATA, REVISIONS, VERSION_TABLE
from csi_cinderlib.persistence.sql.several import Part
from csi_cinderlib.persistence.sql.sqlite import FileDatabase
from tests.support.fakes.canaries import CHAP

MIGRATIONS = Path(csi_cinderlib.persistence.sql.__file__).parent / "migrations"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store("sql", state_dir=tmp_path)
    yield store
    store.close()


@contextmanager
def raw(state_dir: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(state_dir / "metadata.db")) as connection:
        yield connection
        connection.commit()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////x?timeout=5",
        "postgresql://h/d?sslmode=require&connect_timeout=3&host=a:1&host=b:2",
        "mysql://h/d?ssl_ca=/x&ssl_check_hostname=false&charset=utf8mb4&connect_timeout=3",
    ],
)
def test_arguments_of_the_driver_are_accepted_in_the_url(url: str, tmp_path: Path) -> None:
    assert locate({"url": url}, tmp_path).url.query


def test_the_file_is_for_its_owner_only(store: Store, tmp_path: Path) -> None:
    store.add(volume("0001"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.pop("metadata.db-reserve") == 0o700
    assert modes == dict.fromkeys(["metadata.db", "metadata.db-wal", "metadata.db-shm", "metadata.db.lock"], 0o600)


def test_a_file_in_use_is_refused_under_each_of_its_names(store: Store, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.db"
    link.symlink_to(tmp_path / "metadata.db")
    with pytest.raises(ConfigurationError, match="is in use by another process"):
        open_store("sql", {"url": f"sqlite:///{link}"}, state_dir=tmp_path)


def test_an_undecodable_value_is_not_part_of_the_message(store: Store, tmp_path: Path) -> None:
    store.add(volume("0001"))
    with raw(tmp_path) as connection:
        connection.execute("UPDATE volumes SET body = CAST(X'736563726574FF' AS TEXT)")
    with pytest.raises(DriverError, match="Could not decode to UTF-8") as caught:
        store.get(Volume, "0001")
    assert "secret" not in str(caught.value)


def test_a_relative_path_stays_that_of_the_directory_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that use the library may become daemons, which work in the root directory."""
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with closing(open_store("sql", {"url": "sqlite:///metadata.db"}, state_dir=tmp_path)) as store:
        monkeypatch.chdir(elsewhere)
        added = store.add(volume("0001"))
        assert store.get(Volume, added.id) == added
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_cannot_be_looked_at_is_neither_written_nor_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = store.add(volume("0001"))

    def fail(_path: Path) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", fail)
        with pytest.raises(StoreUnavailable, match="Stale file handle"):
            store.get(Volume, added.id)
        with pytest.raises(StoreUnavailable, match="Stale file handle"):
            store.add(volume("0002"))
    assert store.page(Volume).records == (added,)


@pytest.mark.parametrize("copy", [True, False], ids=["replaced", "removed"])
def test_a_file_that_was_replaced_while_it_is_in_use_is_neither_written_nor_read(tmp_path: Path, copy: bool) -> None:
    """What would be written to the old one would be lost with this process, and what the new one lacks is not gone."""
    store = open_store("sql", state_dir=tmp_path)
    known = store.add(volume("0001"))
    file = tmp_path / "metadata.db"
    file.rename(tmp_path / "aside.db")
    if copy:
        file.write_bytes((tmp_path / "aside.db").read_bytes())
    for call in (
        lambda: store.add(volume("0002")),
        lambda: store.replace(known),
        lambda: store.get(Volume, "0001"),
        lambda: store.page(Volume),
    ):
        with pytest.raises(StoreUnavailable, match=r"metadata\.db was moved or replaced .* start the process again"):
            call()
    (tmp_path / "aside.db").rename(file)
    assert store.get(Volume, "0001") == known
    store.close()


def test_every_commit_is_synced_and_foreign_keys_are_on(tmp_path: Path) -> None:
    database = FileDatabase(locate({}, tmp_path))

    def settings(connection: Connection) -> list[object]:
        return [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert settings(database._writer) == ["wal", 2, 1]
    assert database.read(settings) == ["wal", 2, 1]
    database.close()


def test_a_change_writes_no_index_of_what_stays(store: Store, tmp_path: Path) -> None:
    stored = store.add(volume("one"))
    log, page = tmp_path / "metadata.db-wal", 4096 + 24
    before = log.stat().st_size
    changed = store.replace(replace(stored, status=Status.DELETING, message="changed"))
    assert log.stat().st_size - before == 2 * page  # the table, and the index of the status
    before = log.stat().st_size
    store.replace(replace(changed, message="changed again", name="other", group_id="group"))
    assert log.stat().st_size - before > 2 * page
    assert [found.name for found in store.page(Volume, where={"group_id": "group"}).records] == ["other"]


def test_the_migrations_make_the_schema_that_the_program_uses(store: Store, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with engine.begin() as connection:
        upgrade(connection)
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, METADATA) == []
    migrated = inspect(engine)
    created = inspect(create_engine(f"sqlite:///{tmp_path}/metadata.db"))
    assert sorted(migrated.get_table_names()) == sorted(created.get_table_names())
    for table in created.get_table_names():
        for about in ("get_columns", "get_indexes", "get_foreign_keys", "get_pk_constraint"):
            assert repr(getattr(migrated, about)(table)) == repr(getattr(created, about)(table)), (table, about)
    engine.dispose()


def test_the_list_of_schema_revisions_is_that_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(REVISIONS)


def test_an_interrupted_migration_is_finished(tmp_path: Path) -> None:
    open_store("sql", state_dir=tmp_path).close()
    with raw(tmp_path) as connection:
        connection.execute(f"DROP TABLE {VERSION_TABLE}")
        connection.execute("DROP TABLE nodes")
        connection.execute("DROP INDEX ix_volumes_name")
    store = open_store("sql", state_dir=tmp_path)
    assert store.page(Volume, where={"name": "x"}).records == ()
    store.close()
    with raw(tmp_path) as connection:
        assert connection.execute(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('nodes', 'ix_volumes_name')"
        ).fetchone() == (2,)


def test_an_older_program_leaves_a_newer_schema_alone(tmp_path: Path) -> None:
    open_store("sql", state_dir=tmp_path).close()
    with raw(tmp_path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"metadata\.db has schema '9999' of a newer csi-cinderlib.*upgrade"):
        open_store("sql", state_dir=tmp_path)
    with raw(tmp_path) as connection:
        assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [("9999",)]


def look_at(options: Mapping[str, object], *, state_dir: Path) -> None:
    with look(options, state_dir=state_dir, sealer=None):
        pass


def test_tables_of_another_program_are_refused_and_left_alone(tmp_path: Path) -> None:
    with raw(tmp_path) as connection:  # as cinderlib made it
        connection.execute("CREATE TABLE volumes (id VARCHAR(36) PRIMARY KEY, display_name VARCHAR(255))")
    for call in (look_at, migrate, lambda options, state_dir: open_store("sql", options, state_dir=state_dir)):
        with pytest.raises(
            ConfigurationError,
            match=r"metadata\.db contains tables of another program, possibly cinderlib or Cinder \(volumes",
        ):
            call({}, state_dir=tmp_path)
    with raw(tmp_path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall() == [("volumes",)]


def test_without_leave_to_migrate_the_store_is_refused_until_somebody_did(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no schema .*csi-cinderlib migrate"):
        open_store("sql", {"migrate": False}, state_dir=tmp_path)
    assert migrate({"migrate": False}, state_dir=tmp_path).before == ""
    assert migrate({}, state_dir=tmp_path).before == HEAD
    open_store("sql", {"migrate": False}, state_dir=tmp_path).close()


def test_the_refusal_of_a_second_opener_names_the_file_and_leaves_the_first_at_work(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{tmp_path}/metadata\.db is in use by another process"):
        open_store("sql", state_dir=tmp_path)
    assert store.add(volume("0001")).id == "0001"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").write_bytes(b"something else " * 100)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"metadata\.db: file is not a database"):
            open_store("sql", state_dir=tmp_path)


def test_a_path_that_cannot_be_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent/x\.db"):
        open_store("sql", {"url": f"sqlite:///{tmp_path}/absent/x.db"}, state_dir=tmp_path)
    (tmp_path / "directory.db").mkdir()
    with pytest.raises(ConfigurationError, match=r"cannot open .*directory\.db: Is a directory"):
        open_store("sql", {"url": f"sqlite:///{tmp_path}/directory.db"}, state_dir=tmp_path)


@dataclass(frozen=True)
class Statement:
    """A write that is not the store's own."""

    sql: str
    problem: Exception | None = None
    begins: bool = False
    part: Part = Part("key_values", "")

    def run(self, connection: Connection) -> None:
        if self.problem:
            raise self.problem
        connection.execute(text(self.sql))

    def is_done(self, connection: Connection) -> bool:
        return False


def test_a_write_that_breaks_a_shared_transaction_fails_alone(tmp_path: Path) -> None:
    database = FileDatabase(locate({}, tmp_path))
    insert = "INSERT INTO key_values (id, revision, body) VALUES ('{}', '1', '{{}}')".format
    works = [
        Statement(insert("a")),
        Statement("INSERT INTO nowhere VALUES (1)"),
        Statement(insert("b"), ZeroDivisionError()),
        Statement(insert("c"), AlreadyExists("x", "y")),
        Statement(insert("d")),
    ]
    jobs = [csi_cinderlib.persistence.sql.groupcommit.Job[object](work) for work in works]
    database._write_batch(jobs)  # type: ignore[arg-type]
    assert [type(job.error) for job in jobs] == [
        type(None),
        StoreUnavailable,
        ZeroDivisionError,
        AlreadyExists,
        type(None),
    ]
    assert isinstance(jobs[3].error, DriverError)
    stored = database.read(
        lambda connection: connection.execute(text("SELECT id FROM key_values ORDER BY id")).scalars().all()
    )
    assert stored == ["a", "d"]
    database.close()


def test_a_full_disk_is_said_and_spoils_nothing(store: Store, tmp_path: Path) -> None:
    kept = store.add(volume("0001"))
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, hard))
    try:
        with pytest.raises(StoreUnavailable, match=r"disk|full|I/O"):
            store.add(volume("0002", fields={"blob": "x" * 100_000}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.get(Volume, "0001") == kept
    assert [record.id for record in store.page(Volume).records] == ["0001"]
    assert store.add(volume("0003")).id == "0003"


def test_an_error_shows_no_value_of_its_statement_not_even_in_its_causes(tmp_path: Path) -> None:
    database = FileDatabase(locate({}, tmp_path))
    wrong = text("SELECT :secret FROM nowhere")
    with pytest.raises(StoreUnavailable, match="no such table") as caught:
        database.read(lambda connection: connection.execute(wrong, {"secret": CHAP}))
    shown = "".join(traceback.format_exception(caught.value))
    assert "FROM nowhere" in shown
    assert CHAP not in shown
    database.close()


def test_many_readers_and_writers_share_few_connections(store: Store) -> None:
    def live(number: int) -> None:
        record = store.add(volume(f"{number:04}"))
        for _ in range(5):
            record = store.replace(replace(store.get(Volume, record.id), message=record.message + "x"))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(live, range(64)))
    assert {record.message for record in store.page(Volume).records} == {"xxxxx"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "nonsense"}, "must be a database URL"),
        (
            {"url": "oracle://u:secret@h/d"},
            "unsupported dialect 'oracle'; supported: sqlite, postgresql, mysql, mariadb",
        ),
        ({"url": "postgresql+asyncpg://u:secret@h/d"}, r"driver 'asyncpg'; .*postgresql\+psycopg"),
        ({"url": "postgresql://u:secret@h"}, "must name a database"),
        ({"url": "mysql://u:secret@h:port/d"}, "must be a database URL"),
        ({"url": "sqlite://"}, "must name a file"),
        ({"url": "sqlite:///:memory:"}, "must name a file"),
        ({"url": "sqlite:////x?bogus=secret"}, "url: unknown argument 'bogus'; supported: cached_statements, "),
        ({"url": "sqlite:////x?timeout=secret"}, "url: has an invalid value of the argument 'timeout'"),
        ({"url": "postgresql://u:secret@h/d?ssl_mode=secret"}, "unknown argument 'ssl_mode'; did you mean 'sslmode'"),
        ({"url": "mysql://u:secret@h/d?bogus=secret"}, "unknown argument 'bogus'"),
        ({"url": "mariadb://u:secret@h/d?conect_timeout=3"}, "did you mean 'connect_timeout'"),
        ({"url": "mysql://u:secret@h/d?connect_timeout=secret"}, "an invalid value of the argument 'connect_timeout'"),
        ({"url": "mysql://u:secret@h/d?charset=a&charset=b"}, "has the argument 'charset' more than once"),
        ({"pool_size": 0}, "pool_size: must be a number of at least 1"),
        ({"pool_size": "many"}, "pool_size: must be a number"),
        ({"statement_timeout": True}, "statement_timeout: must be a number"),
        ({"migrate": "yes"}, "migrate: must be true or false"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_and_no_password_shown(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store("sql", options, state_dir=tmp_path)
    assert "secret" not in str(caught.value)


def test_the_password_may_be_given_apart_from_the_url(tmp_path: Path) -> None:
    location = locate({"url": "postgres://u@h/d", "password": "se/cr@t"}, tmp_path)
    assert location.url.password == "se/cr@t"
    assert "se/cr@t" not in repr(location)
    assert location.shown == "postgresql+psycopg://u:***@h/d"


def test_the_words_of_a_server_show_no_password_in_any_spelling(tmp_path: Path) -> None:
    location = locate({"url": "postgres://u@h/d", "password": "se/cr@t's"}, tmp_path)
    said = OSError("""cannot use 'postgres://u:se%2Fcr%40t%27s@h/d', "se/cr@t's" or 'se/cr@t\\\\'s'""")
    error = failures.while_running(said, location)
    assert "cannot use 'postgres://u:***@h/d'" in str(error)
    assert "t's" not in str(error)
