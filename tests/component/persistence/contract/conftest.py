"""The stores that the contract suite runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.persistence.contract.harness import Harness
from tests.support.servers.harnesses import HARNESSES, ServerHarness
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    yield from running(MariaDB)


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL]:
    yield from running(MySQL)


SERVERS = ("postgresql", "mariadb", "mysql")


@pytest.fixture(params=[*HARNESSES, *SERVERS])
def persistence_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    if request.param in SERVERS:
        yield ServerHarness(state_dir=tmp_path, server=request.getfixturevalue(request.param))
    else:
        yield HARNESSES[request.param](state_dir=tmp_path)
