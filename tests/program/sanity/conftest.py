"""Runs csi-sanity against drivers in processes of their own, and shows its verdicts at the end of the run."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from csi_cinderlib.demo.process import DriverProcess
from tools import lookup
from tools.catalogue import TOOLS

_verdicts: list[str] = []


@dataclass(frozen=True)
class Verdict:
    """What one run said.

    Attributes:
        output: all of it.
        skipped: the cases that were not run, with the reason that csi-sanity gives; "" when it never runs them itself.
    """

    output: str
    passed: int
    failed: int
    skipped: dict[str, str]
    closing: tuple[str, ...] = ()
    """The title and csi-sanity's own summary."""


@pytest.fixture(scope="session")
def csi_sanity() -> str:
    return str(lookup.program("csi-sanity"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., DriverProcess]]:
    """Starts drivers and waits for them; ends them afterwards, and sees that they end well."""
    with ExitStack() as ending:

        def starter(mode: str) -> DriverProcess:
            state_dir = tmp_path / mode
            state_dir.mkdir()
            (state_dir / "config.yaml").write_text(
                f"mode: {mode}\nmax_volumes_per_node: 4\nlocal_paths: [{tmp_path}/controller/volumes]\n"
            )
            driver = DriverProcess(state_dir, ["--config", str(state_dir / "config.yaml")])
            ending.callback(_end, driver)
            driver.wait_until_ready()
            return driver

        yield starter


def _end(driver: DriverProcess) -> None:
    assert driver.stop() == 0, driver.log()
    assert not driver.socket.exists()


@pytest.fixture
def run_sanity(csi_sanity: str, tmp_path: Path) -> Callable[..., Verdict]:
    """Runs all cases against the given sockets."""

    def run(
        title: str,
        node: DriverProcess,
        controller: DriverProcess,
        *,
        access_type: str,
        seconds: float = 250,
    ) -> Verdict:
        report, mutable = tmp_path / "report.json", tmp_path / "mutable.yaml"
        mutable.write_text("extraSpecs/provisioning:type: thick\n")
        argv = [
            csi_sanity,
            f"-csi.endpoint={node.socket}",
            f"-csi.controllerendpoint={controller.socket}",
            f"-csi.testvolumeaccesstype={access_type}",
            f"-csi.mountdir={tmp_path}/mount",
            f"-csi.stagingdir={tmp_path}/staging",
            f"-csi.testvolumesize={2**30}",
            f"-csi.testvolumeexpandsize={2 * 2**30}",
            "-csi.testnodevolumeattachlimit",
            f"-csi.testvolumemutableparameters={mutable}",
            "--ginkgo.no-color",
            f"--ginkgo.json-report={report}",
        ]
        outcome = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd=tmp_path,
        )
        verdict = _read(report, outcome.stdout + outcome.stderr)
        closing = [line for line in verdict.output.splitlines() if re.match(r"Ran \d+ of|(SUCCESS|FAIL)! -- ", line)]
        verdict = replace(verdict, closing=(f"csi-sanity {TOOLS['csi-sanity'].version}, {title}:", *closing))
        _verdicts.extend(verdict.closing)
        return verdict

    return run


def _read(report: Path, output: str) -> Verdict:
    assert report.exists(), output
    specs = [
        spec
        for suite in json.loads(report.read_text())
        for spec in suite["SpecReports"] or []
        if spec["LeafNodeType"] == "It"
    ]
    skipped = {
        " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]]): spec.get("Failure", {}).get(
            "Message", ""
        )
        for spec in specs
        if spec["State"] in ("skipped", "pending")
    }
    states = [spec["State"] for spec in specs]
    return Verdict(output, states.count("passed"), len(states) - states.count("passed") - len(skipped), skipped)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _verdicts:
        terminalreporter.section("csi-sanity")
        for line in _verdicts:
            terminalreporter.line(line)
