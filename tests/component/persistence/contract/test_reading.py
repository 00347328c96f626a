"""Servers are read in one transaction in which they refuse changes, and without rights to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from csi_cinderlib.errors import ConfigurationError, StoreUnavailable
from csi_cinderlib.model.records import Volume
from csi_cinderlib.persistence.contract.samples import volume
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.persistence.sql import read
from csi_cinderlib.persistence.sql import server as servers
from csi_cinderlib.persistence.sql.location import locate
from csi_cinderlib.persistence.sql.schema import VERSION_TABLE
from tests.support.ports import free_port
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With a database without tables."""
    server: Server = request.getfixturevalue(request.param)
    server.renew_database()
    yield server
    server.altered = True


def ids(url: str, state_dir: Path) -> list[str]:
    with read({"url": url}, state_dir=state_dir, sealer=None) as store:
        return [record.id for record in walk(store, Volume)]


def test_all_that_is_read_is_of_one_moment_beside_a_writer(server: Server, tmp_path: Path) -> None:
    options = {"url": server.url}
    with closing(open_store("sql", options, state_dir=tmp_path)) as writer:
        writer.add(volume("0001"))
        with read(options, state_dir=tmp_path, sealer=None) as store:
            assert [record.id for record in walk(store, Volume)] == ["0001"]
            writer.add(volume("0002"))
            assert [record.id for record in walk(store, Volume)] == ["0001"]
        assert ids(server.url, tmp_path) == ["0001", "0002"]


def test_a_change_is_refused_by_the_server(server: Server, tmp_path: Path) -> None:
    open_store("sql", {"url": server.url}, state_dir=tmp_path).close()
    with (
        pytest.raises(StoreUnavailable, match=r"(?i)read.only"),
        servers.look(locate({"url": server.url}, tmp_path), snapshot=True) as connection,
    ):
        connection.execute(text("DELETE FROM volumes"))


def test_a_user_who_may_only_read_reads(server: Server, tmp_path: Path) -> None:
    with closing(open_store("sql", {"url": server.url}, state_dir=tmp_path)) as store:
        store.add(volume("0001"))
    reader(server)
    dialect = server.url.partition(":")[0]
    assert ids(f"{dialect}://reader:reader-secret@127.0.0.1:{server.port}/csi", tmp_path) == ["0001"]


def reader(server: Server) -> None:
    """A user `reader` who may SELECT alone."""
    if isinstance(server, PostgreSQL):
        with suppress(Exception):
            server.query("CREATE ROLE reader LOGIN PASSWORD 'reader-secret'", database=server.system_database)
        server.query("GRANT USAGE ON SCHEMA public TO reader", database="csi")
        server.query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database="csi")
        return
    with suppress(Exception):
        server.query("CREATE USER reader@'%' IDENTIFIED BY 'reader-secret'", database=server.system_database)
    server.query("GRANT SELECT ON csi.* TO reader@'%'", database=server.system_database)


def test_a_database_without_tables_is_no_store_and_stays_without(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="contains no csi-cinderlib metadata"):
            ids(server.url, tmp_path)


def test_a_newer_schema_is_refused(server: Server, tmp_path: Path) -> None:
    open_store("sql", {"url": server.url}, state_dir=tmp_path).close()
    server.query(f"UPDATE {VERSION_TABLE} SET version_num = '9999'", database="csi")
    with pytest.raises(ConfigurationError, match="upgrade csi-cinderlib"):
        ids(server.url, tmp_path)


def test_a_server_that_is_not_there_is_unavailable(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        ids(server.url.replace(str(server.port), str(free_port())), tmp_path)
