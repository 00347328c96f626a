"""Export and import between any two stores; those of Kubernetes are in `tests/cluster/store`."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from csi_cinderlib.persistence.contract.harness import Harness
from tests.support.servers.exchange import moved
from tests.support.servers.harnesses import HARNESSES, ServerHarness

SERVERS = ("postgresql", "mariadb", "mysql")
KINDS = (*HARNESSES, *SERVERS)


def harness(kind: str, request: pytest.FixtureRequest, directory: Path) -> Harness:
    directory.mkdir()
    if kind in SERVERS:
        return ServerHarness(state_dir=directory, server=request.getfixturevalue(kind))
    return HARNESSES[kind](state_dir=directory)


@pytest.mark.parametrize(("source", "target"), [*itertools.permutations(KINDS, 2)])
def test_everything_goes_from_one_store_into_another_unchanged(
    source: str, target: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ends = (harness(source, request, tmp_path / "source"), harness(target, request, tmp_path / "target"))
    assert moved(*ends, tmp_path) > 100


@pytest.mark.parametrize("kind", SERVERS)
def test_more_than_a_page_goes_in_and_out_unchanged(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    ends = (harness("sqlite", request, tmp_path / "source"), harness(kind, request, tmp_path / "target"))
    assert moved(*ends, tmp_path, volumes=600) > 1800
