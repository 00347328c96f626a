"""A metadata store that cannot work is refused at start, with what to do, by every command that opens it, and no password is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from csi_cinderlib.persistence.plugins import open_store
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import PASSWORD, Server, running

WRONG = "wrong-canary-7f3a"
SHOWN_BY = ("serve", "check", "migrate")


def said(directory: Path, command: str, options: Mapping[str, object], **environment: str) -> tuple[int, str]:
    """The exit code and everything that a command says with these options of the SQL store, its logs at debug."""
    config = directory / "config.json"
    backend = {"driver": "tests.support.fakes.nothing.NothingDriver"}
    settings = {"store": {"plugin": "sql", "options": options}, "backends": {"a": backend}, "log": {"level": "debug"}}
    config.write_text(json.dumps(settings))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "csi_cinderlib", command),
            *("--config", str(config), "--state-dir", str(directory / "state")),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
    )
    output = done.stdout + done.stderr
    for secret in (WRONG, PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in output, output
    return done.returncode, output


def refused(directory: Path, options: Mapping[str, object], *words: str, commands: Sequence[str] = SHOWN_BY) -> None:
    """Every command refuses them with 2, and says all these words."""
    for command in commands:
        code, output = said(directory, command, options)
        assert code == 2, f"{command}: {code}\n{output}"
        for word in words:
            assert word in output, f"{command}: {output}"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    yield from running(MariaDB)


@pytest.fixture(scope="module")
def mysql() -> Iterator[MySQL]:
    yield from running(MySQL)


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue(request.param)
    return server


def url(server: Server, *, user: str = "csi", password: str = WRONG, name: str = "csi") -> str:
    return f"{server.url.partition(':')[0]}://{user}:{password}@127.0.0.1:{server.port}/{name}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"oracle://csi:{WRONG}@db/csi", ("unsupported dialect 'oracle'", "postgresql")),
        (f"postgresql+asyncpg://csi:{WRONG}@db/csi", ("driver 'asyncpg'", "postgresql+psycopg")),
        (f"postgresql:csi:{WRONG}@db", ("store.options.url", "DIALECT://USER@HOST:PORT/DATABASE")),
        (f"mysql://csi:{WRONG}@db", ("must name a database",)),
    ],
)
def test_a_url_that_is_none_of_ours_is_refused_with_what_there_is(
    tmp_path: Path, text: str, words: Sequence[str]
) -> None:
    refused(tmp_path, {"url": text}, *words)


@pytest.mark.parametrize(
    ("dialect", "module", "extra"), [("postgresql", "psycopg", "postgresql"), ("mariadb", "pymysql", "mysql")]
)
def test_a_missing_driver_package_is_named_with_what_installs_it(
    tmp_path: Path, dialect: str, module: str, extra: str
) -> None:
    missing = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')\n"
    (tmp_path / f"{module}.py").write_text(missing)
    path = f"{tmp_path}:{Path(__file__).parents[3]}"
    for command in SHOWN_BY:
        code, output = said(tmp_path, command, {"url": f"{dialect}://csi:{WRONG}@db/csi"}, PYTHONPATH=path)
        assert code == 2, output
        assert f"pip install 'csi-cinderlib[{extra}]'" in output


def test_a_wrong_password_is_said_to_be_one(server: Server, tmp_path: Path) -> None:
    refused(tmp_path, {"url": url(server)}, "the password is wrong, or the user is unknown")


def test_a_wrong_password_beside_the_url_is_not_shown_either(server: Server, tmp_path: Path) -> None:
    options = {"url": url(server, password=""), "password": WRONG}
    refused(tmp_path, options, "the password is wrong, or the user is unknown", commands=("serve",))


def poor(server: Server, *grants: str) -> str:
    """The URL of a user with these rights and no others."""
    host = "" if isinstance(server, PostgreSQL) else "@'%'"
    with suppress(Exception):
        if isinstance(server, PostgreSQL):
            server.query("DROP OWNED BY poor")
        server.query(f"DROP USER poor{host}")
    identified = "LOGIN PASSWORD" if isinstance(server, PostgreSQL) else "IDENTIFIED BY"
    server.query(f"CREATE {'ROLE' if isinstance(server, PostgreSQL) else 'USER'} poor{host} {identified} '{WRONG}'")
    for grant in grants:
        server.query(f"GRANT {grant} TO poor{host}")
    return url(server, user="poor")


def test_a_user_who_may_create_no_tables_is_told(server: Server, tmp_path: Path) -> None:
    grant = "CONNECT ON DATABASE csi" if isinstance(server, PostgreSQL) else "SELECT ON csi.*"
    refused(tmp_path, {"url": poor(server, grant)}, "privileges", commands=("serve", "migrate"))


def test_a_user_who_may_only_read_is_told_at_start(server: Server, tmp_path: Path) -> None:
    code, output = said(tmp_path, "migrate", {"url": server.url})
    assert code == 0, output
    grant = "SELECT ON ALL TABLES IN SCHEMA public" if isinstance(server, PostgreSQL) else "SELECT ON csi.*"
    refused(tmp_path, {"url": poor(server, grant)}, "the user lacks privileges")


def test_check_says_where_a_good_store_is_and_leaves_no_table_in_it(server: Server, tmp_path: Path) -> None:
    name = "vacant"
    server.query("DROP DATABASE IF EXISTS vacant", database=server.system_database)
    server.query("CREATE DATABASE vacant", database=server.system_database)
    owner = (
        "ALTER DATABASE vacant OWNER TO csi" if isinstance(server, PostgreSQL) else "GRANT ALL ON vacant.* TO csi@'%'"
    )
    server.query(owner, database=server.system_database)
    text = server.url.rpartition("/")[0] + f"/{name}"
    code, output = said(tmp_path, "check", {"url": text})
    assert code == 0, output
    assert f":***@127.0.0.1:{server.port}/vacant" in output
    schema = "public" if isinstance(server, PostgreSQL) else name
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = %s"
    assert server.query(tables, schema, database=name)[0][0] == 0
    server.forget_connections()


def test_check_leaves_no_file_where_sqlite_would_be(tmp_path: Path) -> None:
    code, output = said(tmp_path, "check", {})
    assert code == 0, output
    assert not (tmp_path / "state").exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data " * 1000)
    refused(tmp_path, {"url": f"sqlite:///{tmp_path}/precious"}, "precious", "not a database")
    assert (tmp_path / "precious").read_text().startswith("data ")


def test_a_misspelt_option_is_named(tmp_path: Path) -> None:
    refused(tmp_path, {"pasword": WRONG}, "store.options.pasword", "unknown option")


def test_check_looks_at_a_file_that_a_serving_process_has_open(tmp_path: Path) -> None:
    store = open_store("sql", state_dir=tmp_path / "state")
    code, output = said(tmp_path, "check", {})
    store.close()
    assert code == 0, output
    assert "metadata.db" in output
