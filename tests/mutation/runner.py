"""How the tests of a mutant are run: in a copy of a process that has everything loaded, the quick ones first."""

from __future__ import annotations

from collections.abc import Iterable

from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
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
