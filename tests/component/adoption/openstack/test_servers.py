"""Databases on PostgreSQL and MariaDB, made by Cinder's own migrations, are read in a read-only transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from csi_cinderlib.adoption import tables
from csi_cinderlib.adoption.openstack import source
from csi_cinderlib.model.records import Snapshot
from tests.component.adoption.databases import load_text
from tests.component.adoption.openstack.databases import ADOPTABLE, RECORDED, STOPPED, Run, id_of, make
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import PASSWORD, Server, running

KINDS = {"postgresql": PostgreSQL, "mariadb": MariaDB, "mysql": MySQL}
SCHEMES = {"postgresql": "postgresql+psycopg", "mariadb": "mysql+pymysql", "mysql": "mysql+pymysql"}
READ_ONLY = "only-for-reading"
GRANTS = {
    "postgresql": (
        f"CREATE ROLE reader LOGIN PASSWORD '{READ_ONLY}'",
        "GRANT USAGE ON SCHEMA public TO reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    ),
    "mysql": (f"CREATE USER reader@'%' IDENTIFIED BY '{READ_ONLY}'", "GRANT SELECT ON csi.* TO reader@'%'"),
    "mariadb": (f"CREATE USER reader@'%' IDENTIFIED BY '{READ_ONLY}'", "GRANT SELECT ON csi.* TO reader@'%'"),
}


@pytest.fixture(scope="module", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[Server]:
    yield from running(KINDS[name])


@pytest.fixture(scope="module")
def filled(server: Server, name: str) -> str:
    """The URL of a database that the installed Cinder has made, for a user who may only read."""
    server.renew_database()
    server.altered = True
    make(f"{SCHEMES[name]}://{server.url.partition('://')[2]}")
    server.query(STOPPED)
    for statement in GRANTS[name]:
        server.query(statement)
    return server.url.replace("csi:", "reader:").replace(quote(PASSWORD, safe=""), READ_ONLY)


def test_volumes_are_adopted_by_a_user_who_may_only_read(filled: str, tmp_path: Path) -> None:
    run = Run(filled, tmp_path)
    assert run.plan("--skip-problems") == 0
    assert run.apply() == 0
    assert set(run.volumes()) == set(ADOPTABLE.values())
    plain = run.volumes()["plain"]
    assert (plain.metadata, plain.provider.auth) == ({"owner": "zoë"}, "CHAP user secret")
    assert [record.id for record in run.records() if isinstance(record, Snapshot)] == [id_of(101)]
    assert READ_ONLY not in run.plan_file.read_text()


def test_a_service_that_has_reported_lately_is_running(server: Server, filled: str) -> None:
    assert source.read(filled).running == frozenset()
    now = "UTC_TIMESTAMP()" if "mysql" in server.url else "now() AT TIME ZONE 'utc'"
    server.query(f"UPDATE services SET updated_at = {now} WHERE host = 'node1@lvm'")
    assert source.read(filled).running == {"node1@lvm"}
    server.query(STOPPED)


def test_a_plan_is_refused_after_a_change(server: Server, filled: str, tmp_path: Path) -> None:
    run = Run(filled, tmp_path)
    assert run.plan(id_of(2)) == 0
    server.query(f"UPDATE volumes SET size = 5 WHERE id = '{id_of(2)}'")
    assert run.apply() == 1
    server.query(f"UPDATE volumes SET size = 1 WHERE id = '{id_of(2)}'")
    assert run.apply() == 0


def test_the_database_refuses_a_write_while_it_is_read(server: Server, filled: str) -> None:
    """As the owner, whose rights would allow it."""
    assert filled
    with pytest.raises(Exception, match=r"(?i)read.?only"), tables.opened(server.url) as (connection, _):
        _write(connection)


def _write(connection: Any) -> None:
    try:
        connection.execute(text("UPDATE volumes SET size = 9"))
    except DBAPIError as error:
        raise RuntimeError(str(error)) from error


def test_all_tables_are_read_in_the_same_state(server: Server, filled: str) -> None:
    query, changed = text("SELECT display_name FROM volumes WHERE id = :id"), {"id": id_of(3)}
    with tables.opened(filled) as (connection, _):
        before = connection.execute(query, changed).scalar()
        server.query(f"UPDATE volumes SET display_name = 'renamed' WHERE id = '{id_of(3)}'")
        assert connection.execute(query, changed).scalar() == before
    server.query(f"UPDATE volumes SET display_name = '{before}' WHERE id = '{id_of(3)}'")


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def train(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a recorded database of Cinder 15."""
    for server in running(KINDS[request.param]):
        load_text(server, (RECORDED / f"train-{request.param}.sql").read_text())
        server.query(STOPPED)
        yield server


def test_a_database_of_train_is_adopted(train: Server, tmp_path: Path) -> None:
    run = Run(train.url, tmp_path)
    assert run.plan(*map(id_of, ADOPTABLE)) == 0
    assert run.apply() == 0
    assert set(run.volumes()) == set(ADOPTABLE.values())
