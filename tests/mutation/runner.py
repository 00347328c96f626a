"""Selects the tests of a mutant and runs them in a fork of a process that has everything loaded, the fastest first."""

from __future__ import annotations

import hashlib
import json
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

LOADS_CINDER = "tests/component/lifecycle/test_volumes.py::test_what_the_driver_says_is_kept"


_SEEN = "tests-seen.json"


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
    """Make mutmut use this selection and this runner, in its children too."""
    vars(isolation)["PytestRunner"] = QuickRunner
    collect: Any = mutmut.collect_or_load_stats
    paths = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutants"]["tests"]

    def collect_and_choose(*arguments: Any, **options: Any) -> None:
        seen = forget_changed_tests(Path("mutants"))
        collect(*arguments, **options)
        (Path("mutants") / _SEEN).write_text(json.dumps(seen))
        known = state().tests_by_mangled_function_name
        for function, tests in known.items():
            known[function] = concerned(get_module_from_key(function).partition(".")[2], tests, paths)

    vars(mutmut)["collect_or_load_stats"] = collect_and_choose


def forget_changed_tests(mutants: Path) -> dict[str, str]:
    """Make mutmut record again what the tests of changed files execute; by itself it only does so for new test names.

    Returns:
        The test files with their present checksums.
    """
    files = sorted(mutants.glob("tests/**/test_*.py"))
    now = {str(path.relative_to(mutants)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    stats, seen = mutants / "mutmut-stats.json", mutants / _SEEN
    if not stats.exists():
        return now
    before = json.loads(seen.read_text()) if seen.exists() else {}
    known = json.loads(stats.read_text())
    kept = {test for test in known["duration_by_test"] if _unchanged(test.partition("::")[0], before, now)}
    known["duration_by_test"] = {test: known["duration_by_test"][test] for test in kept}
    executed = known["tests_by_mangled_function_name"]
    known["tests_by_mangled_function_name"] = {name: [*kept.intersection(executed[name])] for name in executed}
    stats.write_text(json.dumps(known))
    return now


def _unchanged(file: str, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    return file in before and before[file] == now.get(file)


def concerned(module: str, tests: Iterable[str], paths: Mapping[str, Sequence[str]]) -> set[str]:
    """The tests at the paths configured for the module or, failing that, for its package."""
    while module not in paths:
        module = module.rpartition(".")[0]
    return {test for test in tests if test.startswith(tuple(paths[module]))}
