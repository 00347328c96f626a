"""Which tests a mutant gets, and how they are run: in a copy of a process that has everything loaded, the quick ones first."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mutmut import __main__ as mutmut
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import get_module_from_key
from mutmut.workers import isolation

LOADS_CINDER = "tests/component/backend/test_volumes.py::test_what_the_driver_says_is_kept"


class QuickRunner(PytestRunner):
    """See the module."""

    def warm_up(self) -> None:
        super().warm_up()
        with change_cwd("mutants"):
            self.execute_pytest(["-q", LOADS_CINDER])

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        durations = state().duration_by_test
        return super().run_tests(mutant_name=mutant_name, tests=sorted(tests, key=lambda name: durations[name]))


def install() -> None:
    """Let mutmut run tests so, in its children too."""
    vars(isolation)["PytestRunner"] = QuickRunner
    collect: Any = mutmut.collect_or_load_stats
    paths = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutants"]["tests"]

    def collect_and_choose(*arguments: Any, **options: Any) -> None:
        collect(*arguments, **options)
        known = state().tests_by_mangled_function_name
        for function, tests in known.items():
            known[function] = concerned(get_module_from_key(function).partition(".")[2], tests, paths)

    vars(mutmut)["collect_or_load_stats"] = collect_and_choose


def concerned(module: str, tests: Iterable[str], paths: Mapping[str, Sequence[str]]) -> set[str]:
    """Of the tests that execute a function of the module, those at the paths given for it or its package."""
    while module not in paths:
        module = module.rpartition(".")[0]
    return {test for test in tests if test.startswith(tuple(paths[module]))}
