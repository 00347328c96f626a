"""The workflows of the public repository: valid, on pinned actions, and running what a developer runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tools import lookup
from tools.catalogue import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
TARGETS = sorted(set(re.findall(r"run: make (\w+)", "".join(path.read_text() for path in WORKFLOWS))))


def check(*paths: Path) -> str:
    """What actionlint complains about; shellcheck and pyflakes would depend on what the machine has."""
    argv = [str(lookup.program("actionlint")), "-no-color", "-shellcheck=", "-pyflakes=", *map(str, paths)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT).stdout


def test_actionlint_finds_nothing() -> None:
    assert check(*WORKFLOWS) == ""


def test_actionlint_finds_a_wrong_expression(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("${{ matrix.python }}", "${{ matrix.pithon }}"))
    assert 'property "pithon" is not defined' in check(wrong)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_version(path: Path) -> None:
    used = re.findall(r"uses: (\S+)", path.read_text())
    assert used
    assert [action for action in used if not re.search(r"@v\d+\.\d+\.\d+$|^\./", action)] == []


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_that_is_run_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
