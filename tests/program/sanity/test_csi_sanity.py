"""The community's conformance suite, every case of it, in every way in which the driver is run."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from csi_cinderlib.demo.process import DriverProcess
from tests.program.sanity.conftest import Verdict

SWITCHED_OFF = (
    "Controller Service [Controller Server] ListVolumes pagination should detect volumes added between pages and accept "
    "tokens when the last volume from a page is deleted"
)
"""csi-sanity 5.5.0 itself never runs this one."""

pytestmark = pytest.mark.root
Start = Callable[..., DriverProcess]
Run = Callable[..., Verdict]


def check(verdict: Verdict, *, not_claimed: Collection[str] = (), passed: int = 95) -> None:
    """All cases pass, except those that csi-sanity leaves out for one of the reasons in `not_claimed`."""
    assert verdict.failed == 0, verdict.output
    left_out = {case: why for case, why in verdict.skipped.items() if why not in not_claimed}
    assert left_out == {SWITCHED_OFF: ""}
    assert verdict.passed >= passed


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_one_process_passes_every_case(start: Start, run_sanity: Run, access_type: str) -> None:
    driver = start("all")
    check(run_sanity(f"one process, {access_type}", driver, driver, access_type=access_type))


@pytest.mark.parametrize("access_type", ["mount", "block"])
def test_a_controller_and_a_node_that_share_nothing_pass_every_case(
    start: Start, run_sanity: Run, access_type: str
) -> None:
    controller = start("controller")
    node = start("node")
    check(run_sanity(f"controller and node apart, {access_type}", node, controller, access_type=access_type))
