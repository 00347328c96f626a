"""The back-end contract, the very same suite that the fakes keep, on LVM behind LIO, thin and thick, over iSCSI with CHAP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from tests.component.lifecycle.contract.test_back_ends_keep_the_contract import *  # noqa: F403  # every test of the suite
from tests.guest.scenarios import contract
from tests.support.fakes.beds import Bed, Place


@pytest.fixture(
    params=[
        pytest.param("lvm-thin", marks=pytest.mark.guest("contract-thin")),
        pytest.param("lvm-thick", marks=pytest.mark.guest("contract-thick")),
    ]
)
def bed(request: pytest.FixtureRequest) -> Bed:
    return contract.bed_of(request.param)


@pytest.fixture
def place(bed: Bed, tmp_path: Path, runtime: Runtime, request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from contract.place_of(bed, tmp_path, runtime, request)
