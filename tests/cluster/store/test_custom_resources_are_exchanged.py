"""Export and import between custom resources and every other store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.persistence.contract.harness import Harness
from tests.support.servers.exchange import moved
from tests.support.servers.harnesses import HARNESSES, ServerHarness
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

pytestmark = pytest.mark.cluster

SERVERS = {"postgresql": PostgreSQL, "mariadb": MariaDB, "mysql": MySQL}


@pytest.fixture(params=[*HARNESSES, *SERVERS])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    directory = tmp_path / "other"
    directory.mkdir()
    if request.param in HARNESSES:
        yield HARNESSES[request.param](state_dir=directory)
        return
    for server in running(SERVERS[request.param]):
        yield ServerHarness(state_dir=directory, server=server)


def test_everything_goes_into_custom_resources(other: Harness, persistence_harness: Harness, tmp_path: Path) -> None:
    assert moved(other, persistence_harness, tmp_path) > 100


def test_everything_comes_out_of_custom_resources(other: Harness, persistence_harness: Harness, tmp_path: Path) -> None:
    assert moved(persistence_harness, other, tmp_path) > 100
