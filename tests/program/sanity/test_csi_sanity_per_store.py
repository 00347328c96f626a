"""The community's conformance suite once on each metadata store, through a process whose configuration names the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.sealing import generate_key
from tests.cluster.bed.custom_resources import Namespace, serving
from tests.program.sanity.conftest import Verdict
from tests.program.sanity.test_csi_sanity import check
from tests.support.servers.mariadb import MariaDB
from tests.support.servers.mysql import MySQL
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import Server, Unavailable

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Bed:
    """A store and how to look at what is left in it.

    Attributes:
        settings: of the process, in its configuration's own words.
        left: the records that are there after everything was deleted, by table or kind; {} where they end with the process.
    """

    settings: Mapping[str, Any]
    left: Callable[[], Mapping[str, int]] = field(default=dict)


def in_process(plugin: str) -> Iterator[Bed]:
    yield Bed({"store": {"plugin": plugin}})


def on(kind: Callable[[], Server]) -> Iterator[Bed]:
    server = kind()
    try:
        server.initialize()

        def left() -> dict[str, int]:
            tables = ("volumes", "snapshots", "attachments", "volume_groups", "group_snapshots")
            return {table: server.query(f"SELECT count(*) FROM {table}")[0][0] for table in tables}

        yield Bed({"store": {"options": {"url": server.url}}}, left)
    finally:
        server.discard()


def in_kubernetes(directory: Path) -> Iterator[Bed]:
    """The process is controller and node, and has the rights of both: it registers itself, and finds itself there."""
    with serving(directory / "api-server") as server:
        namespace = Namespace(server, directory)
        namespace.let_controller_be_a_node()
        options = {"kubeconfig": str(namespace.kubeconfigs["controller"]), "namespace": namespace.name}

        def left() -> dict[str, int]:
            kinds = ("volumes", "snapshots", "attachments", "volumegroups", "groupsnapshots")
            return {kind: len(namespace.objects(kind)) for kind in kinds}

        yield Bed(
            {
                "kubernetes": True,
                "node_name": "worker-1",
                "store": {"plugin": "kubernetes", "options": options},
                "sealing_keys": [{"id": "k1", "key": generate_key()}],
            },
            left,
        )


BEDS: Mapping[str, Callable[[Path], Iterator[Bed]]] = {
    "memory": lambda _: in_process("memory"),
    "stateless": lambda _: in_process("stateless"),
    "PostgreSQL": lambda _: on(PostgreSQL),
    "MariaDB": lambda _: on(MariaDB),
    "MySQL": lambda _: on(MySQL),
    "Kubernetes": in_kubernetes,
}
"""SQLite is the default, which `test_csi_sanity` runs on."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.cluster if name == "Kubernetes" else ()) for name in BEDS])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    try:
        yield from BEDS[request.param](tmp_path)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def driver(bed: Bed, tmp_path: Path) -> Iterator[DriverProcess]:
    """One process that is controller and node, on that store."""
    state_dir = tmp_path / "all"
    state_dir.mkdir()
    config = state_dir / "config.yaml"
    config.write_text(json.dumps({"mode": "all", "max_volumes_per_node": 4, **bed.settings}))
    with ExitStack() as ending:
        driver = DriverProcess(state_dir, ["--config", str(config)])
        ending.callback(driver.stop)
        driver.wait_until_ready()
        yield driver
        assert driver.stop() == 0, driver.log()


def test_every_case_passes_on_this_store_and_nothing_is_left_in_it(
    request: pytest.FixtureRequest, bed: Bed, driver: DriverProcess, run_sanity: Callable[..., Verdict]
) -> None:
    name = request.node.callspec.params["bed"]
    check(run_sanity(f"one process, mount, store: {name}", driver, driver, access_type="mount"))
    assert not any(bed.left().values()), bed.left()
