"""The community's conformance suite, every case of it, in every way in which the driver is run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from csi_cinderlib.demo.process import DriverProcess
from tests.sanity.conftest import Verdict

NOT_OURS: frozenset[str] = frozenset()
"""Cases behind a capability that this driver does not claim."""

pytestmark = pytest.mark.root
Start = Callable[..., DriverProcess]
Run = Callable[..., Verdict]


def check(verdict: Verdict) -> None:
    assert verdict.failed == 0, verdict.output
    assert set(verdict.skipped) <= NOT_OURS, verdict.skipped
    assert verdict.passed > 80


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_one_process_passes_every_case(start: Start, run_sanity: Run, access_type: str) -> None:
    driver = start("all", "--mode", "all")
    check(run_sanity(f"one process, {access_type}", driver, driver, access_type=access_type))


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_a_controller_and_a_node_that_share_nothing_pass_every_case(
    start: Start, run_sanity: Run, access_type: str
) -> None:
    controller = start("controller", "--mode", "controller")
    node = start("node", "--mode", "node")
    check(run_sanity(f"controller and node apart, {access_type}", node, controller, access_type=access_type))
