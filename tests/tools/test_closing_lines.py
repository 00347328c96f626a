"""What a run of all checks says last: scripts/run-tests on stand-ins for the checks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.catalogue import ROOT

STAGES_OF_TESTS = ("quick", "root", "guest", "cluster")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose checks all pass, and whose tests leave some out."""
    for name in (".venv/bin", "scripts"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts/run-tests", tmp_path / "scripts")
    for name in ("ruff", "mypy", "lint-imports", "mkdocs"):
        write(tmp_path / ".venv/bin" / name, "echo fine")
    said = ["not run: 2 tests: helm is missing: no network", "not run: 1 test: needs root", "5 passed, 3 skipped"]
    write(tmp_path / ".venv/bin/pytest", "\n".join(f"echo '{line}'" for line in said))
    return tmp_path


def write(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def run(tree: Path, *stages: str) -> tuple[int, list[str]]:
    argv = [str(tree / "scripts/run-tests"), *stages]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=250)
    return done.returncode, done.stdout.splitlines()


def test_tests_that_were_not_run_are_added_up_over_all_stages(tree: Path) -> None:
    code, lines = run(tree)
    assert code == 0
    number = len(STAGES_OF_TESTS)
    assert lines[-2:] == [
        f"{2 * number:6} tests not run: helm is missing: no network",
        f"{number:6} tests not run: needs root",
    ]


def test_a_single_test_is_counted_as_one(tree: Path) -> None:
    assert run(tree, "quick")[1][-1] == "     1 test not run: needs root"


def test_nothing_is_said_of_them_when_no_tests_were_asked_for(tree: Path) -> None:
    code, lines = run(tree, "ruff", "mypy")
    assert code == 0
    assert not any("not run" in line for line in lines)


def test_a_stage_that_fails_fails_the_run_and_the_others_go_on(tree: Path) -> None:
    write(tree / ".venv/bin/mypy", "echo 'error: wrong'; exit 1")
    code, lines = run(tree)
    assert code == 1
    assert any(line.startswith("FAILED mypy") for line in lines)
    assert any(line.startswith("ok     cluster") for line in lines)
