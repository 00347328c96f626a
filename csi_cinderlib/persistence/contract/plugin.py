"""The pytest plugin of the contract suite (entry point group `pytest11`). It does nothing without its option."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from csi_cinderlib.persistence.api import Store
    from csi_cinderlib.persistence.contract.harness import Harness

_HERE = Path(__file__).parent
pytest.register_assert_rewrite("csi_cinderlib.persistence.contract.rules", "csi_cinderlib.persistence.contract.history")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("csi-cinderlib metadata stores")
    group.addoption("--persistence-plugin", metavar="NAME", default="", help="run the contract suite on this plugin")
    group.addoption(
        "--persistence-options", metavar="JSON", default="{}", help="the plugin's options, as a JSON object"
    )
    group.addoption(
        "--persistence-volumes",
        metavar="N",
        type=int,
        default=1000,
        help="volumes in the tests of concurrency (default: 1000)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the suite in addition to the arguments of the command line."""
    if config.getoption("--persistence-plugin", default=""):
        config.args.append(str(_HERE / "test_contract.py"))


@pytest.fixture
def persistence_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The store under test. Override it for tests that need more than the plugin."""
    from csi_cinderlib.persistence.contract.harness import Harness, wipe
    from csi_cinderlib.persistence.contract.samples import Scrambler

    config = request.config
    harness = Harness(
        plugin=config.getoption("--persistence-plugin"),
        options=json.loads(config.getoption("--persistence-options")),
        state_dir=tmp_path,
        volumes=config.getoption("--persistence-volumes"),
    )
    store = harness.open(Scrambler())  # reads sealed and unsealed records of earlier tests
    if store.traits.durable:
        wipe(store)
    store.close()
    yield harness


@pytest.fixture
def persistence_store(persistence_harness: Harness) -> Iterator[Store]:
    """The store under test, open and without a sealer."""
    store = persistence_harness.open()
    yield store
    persistence_harness.close(store)
