"""What holds for every test: it downloads and compiles nothing, and one that was not run is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.no_building import Forbidden
from tools import lookup
from tools.catalogue import ROOT, TOOLS

SNAPSHOTS = "tests/chart/test_chart_snapshots.py"


@pytest.mark.parametrize(
    "argv",
    [
        ["go", "mod", "download"],
        ["/usr/local/go/bin/go", "build"],
        ["apt-get", "download", "linux"],
        [".venv/bin/uv", "pip", "install", "x"],
        [sys.executable, "-m", "pip", "install", "x"],
        ["buildah", "--root", "/nowhere", "bud", "."],
    ],
)
def test_a_test_that_downloads_or_compiles_fails(argv: list[str]) -> None:
    with pytest.raises(Forbidden, match=r"belongs into tools/catalogue\.py"):
        subprocess.run(argv, check=False)
    with pytest.raises(Forbidden):
        os.execvp(argv[0], argv)


def test_what_a_test_starts_is_offline() -> None:
    assert (os.environ["GOPROXY"], os.environ["PIP_NO_INDEX"], os.environ["UV_OFFLINE"]) == ("off", "1", "1")


def run_tests(cache: Path, **settings: str) -> tuple[int, str]:
    environment = {**os.environ, "CINDERLIB_CACHE": str(cache), "CINDERLIB_CLUSTER_TEST": "", **settings}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SNAPSHOTS]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=250)
    return done.returncode, done.stdout


@pytest.fixture
def no_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which `make tools` noted that helm cannot be had."""
    monkeypatch.setenv("CINDERLIB_CACHE", str(tmp_path))
    reason = lookup.reason_file(TOOLS["helm"])
    reason.parent.mkdir()
    reason.write_text("no network: no\nsuch host")
    return tmp_path


def test_tests_of_a_missing_tool_are_skipped_and_counted_with_the_reason(no_helm: Path) -> None:
    code, output = run_tests(no_helm)
    assert code == 0, output
    counted = int(output.partition("not run: ")[2].split()[0])
    assert f"not run: {counted} tests: helm is missing: no network: no such host\n" in output
    assert f"{counted} skipped" in output


def test_tests_of_a_missing_tool_fail_where_it_was_asked_for(no_helm: Path) -> None:
    code, output = run_tests(no_helm, CINDERLIB_CLUSTER_TEST="1")
    assert code == 1
    assert "helm is missing: no network" in output


def test_tests_fail_when_nobody_tried_to_make_their_tool(tmp_path: Path) -> None:
    code, output = run_tests(tmp_path)
    assert code == 1
    assert "run `make tools`" in output
