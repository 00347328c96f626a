"""Starts `run.py`: cinderlib's own suites, unmodified, in a process of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from csi_cinderlib.cinderlib import state
from tests.component.cinderlib.suites.run import AS_IS
from tools import lookup

ROOT = Path(__file__).parents[4]
FUNCTIONAL = "cinderlib.tests.functional.test_basic"
CLASS = f"{FUNCTIONAL}.BackendFunctBasic"
OF_EACH_BACK_END, OF_NO_BACK_END = 14, 3
"""Tests of the functional suite."""
STORAGES: Mapping[str, tuple[str, str]] = {
    "memory": (AS_IS, "true"),
    "memory_db": (AS_IS, "false"),
    "SQLite": ("sqlite", "false"),
    "store class": ("store-class", "false"),
    "store instance": ("store-instance", "false"),
    "plugin class": ("plugin-class", "false"),
    "plugin instance": ("plugin-instance", "false"),
}
"""Name to `run.py`'s storage, and the value of the suite's own CL_FTEST_MEMORY_PERSISTENCE."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended.

    Attributes:
        outcomes: test id to its traceback, "skipped: " and the reason, or "" if it passed.
        output: what unittest printed.
    """

    outcomes: Mapping[str, str]
    output: str

    @property
    def failed(self) -> Mapping[str, str]:
        return {test: said for test, said in self.outcomes.items() if said}

    @property
    def exceptions(self) -> Mapping[str, str]:
        """The failed tests, and the class of what each raised, without its module."""
        return {test: exception_of(said) for test, said in self.failed.items()}

    @property
    def closing_line(self) -> str:
        return f"{len(self.outcomes) - len(self.failed)} passed, {len(self.failed)} failed"


def exception_of(text: str) -> str:
    """The class that the last unindented line of a traceback with a message names."""
    lines = [line for line in text.splitlines() if re.match(r"[\w.]+(:|$)", line)]
    return lines[-1].partition(":")[0].rpartition(".")[2] if lines else text


def run(tests: Sequence[str], scratch: Path, *, storage: str = AS_IS, **environment: str) -> Verdict:
    """Run the tests; a test that hangs ends the run after 15 minutes. Two back ends take two minutes, and more on a busy machine."""
    results = scratch / "results.json"
    program = [sys.executable, "-m", "tests.component.cinderlib.suites.run"]
    argv = [*program, str(lookup.folder("cinderlib")), str(results), storage, *tests]
    done = subprocess.run(
        argv,
        cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert results.exists(), done.stdout
    return Verdict(json.loads(results.read_text()), done.stdout)


def run_functional(backends: Sequence[Mapping[str, Any]], scratch: Path, *, storage: str) -> Verdict:
    """Run the functional suite on these back ends, with a persistence of `STORAGES`."""
    config = scratch / "suite.yaml"
    config.write_text(yaml.safe_dump({"backends": [dict(backend) for backend in backends]}))
    name, memory = STORAGES[storage]
    suite = {
        "CL_FTEST_CFG": str(config),
        "CL_FTEST_ROOT_HELPER": "env",  # the tests are root
        "CL_FTEST_MEMORY_PERSISTENCE": memory,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        state.VARIABLE: str(scratch / "state"),
    }
    return run([FUNCTIONAL], scratch, storage=name, **suite)


def expected_number(backends: int) -> int:
    return OF_NO_BACK_END + OF_EACH_BACK_END * backends
