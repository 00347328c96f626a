"""Tests marked `guest("MACHINE")` run inside a guest, all of one machine in one boot; here they look like any other test.

On the host this hands such a test's turn to the fleet of guests and repeats the reports that come back. The pytest inside a
guest loads the same file, finds itself inside, and runs them. A test marked `guest` with no machine runs on the host.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tests.guest.bed import kernel as kernels
from tests.guest.bed.fleet import Fleet, Group
from tests.guest.bed.reports import inside_guest
from tests.guest.machines import MACHINES

FLEET: pytest.StashKey[Fleet] = pytest.StashKey()


def machine_of(item: pytest.Item) -> str:
    mark = item.get_closest_marker("guest")
    return str(mark.args[0]) if mark is not None and mark.args else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if inside_guest():
        return
    tests: dict[str, list[str]] = {}
    for item in items:
        if machine := machine_of(item):
            tests.setdefault(machine, []).append(item.nodeid)
            item.add_marker(
                pytest.mark.timeout(0), append=False
            )  # the limits apply in the machine, not while it is waited for
    verbose = config.getoption("capture") == "no"
    seed = config.getoption("randomly_seed", None)
    arguments = ["-p", "no:randomly"] if seed is None else [f"--randomly-seed={seed}"]
    groups = [
        Group(name, machine, tests[name], arguments=arguments, verbose=verbose)
        for name, machine in MACHINES.items()
        if name in tests
    ]
    at_once = int(os.environ.get("CINDERLIB_GUESTS", "0")) or min(2, len(kernels.cores()))
    config.stash[FLEET] = Fleet(groups, at_once=at_once)
    order = {"": -1, **{name: place for place, name in enumerate(MACHINES)}}
    items.sort(key=lambda item: order[machine_of(item)])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if inside_guest() or not machine_of(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    lines, problem = item.config.stash[FLEET].results(item.nodeid)
    for line in lines:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=line)
        if isinstance(report.longrepr, list):  # JSON knows no tuples, and the summary of skips insists on one
            report.longrepr = tuple(report.longrepr)
        item.ihook.pytest_runtest_logreport(report=report)
    if problem:
        item.ihook.pytest_runtest_logreport(report=_incomplete(item, problem))
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _incomplete(item: pytest.Item, problem: str) -> pytest.TestReport:
    """The report of a test that its guest could not finish, or that no guest could be had for."""
    path, line, _ = item.location
    skip = problem.startswith("skip:")
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="skipped" if skip else "failed",
        longrepr=(path, line or 0, f"no guest: {problem.removeprefix('skip:')}") if skip else problem,
        when="setup" if skip else "call",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (fleet := session.config.stash.get(FLEET, None)) is not None:
        fleet.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    fleet = config.stash.get(FLEET, None)
    if fleet is None or not any(group.seconds for group in fleet.groups):
        return
    terminalreporter.section("guests")
    for group in fleet.groups:
        terminalreporter.write_line(
            f"guest {group.name}: {len(group.tests)} tests in {group.seconds:.0f} s on kernel {group.kernel or 'none'}"
        )
    for line in _closing_lines(terminalreporter.getreports("passed") + terminalreporter.getreports("failed")):
        terminalreporter.write_line(line)


def _closing_lines(reports: Sequence[pytest.TestReport]) -> list[str]:
    """What tests noted by `record_property("closing line", TEXT)`."""
    return [str(value) for report in reports for name, value in report.user_properties if name == "closing line"]
