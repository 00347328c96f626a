"""Compares the run on stock Cinder with the run on our runtime, and says what makes `make upstream-test` fail."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.upstream.results import Mode, Outcome, Run, State, Surroundings

INTENDED: Mapping[Mode, Surroundings] = {
    Mode.STOCK: Surroundings(patched=True, threads="eventlet", pool="eventlet.pools", manager="builtins"),
    Mode.PRODUCT: Surroundings(
        patched=False,
        threads="threading",
        pool="csi_cinderlib.cinder.eventlet_standin",
        manager="csi_cinderlib.cinder.standins",
    ),
}
"""A run proves something only on these: two runs on the same Cinder would be equal as well."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that ended differently, or that only one of the modes ran."""

    test: str
    stock: Outcome | None
    product: Outcome | None

    def lines(self) -> Iterator[str]:
        yield self.test
        for mode, outcome in ((Mode.STOCK, self.stock), (Mode.PRODUCT, self.product)):
            told = f"{outcome.state}  {outcome.last_line}".rstrip() if outcome else "not run"
            yield f"    {mode:<8} {told}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a whole run must show.

    Attributes:
        passed: the tests that pass in each mode, at least; fewer mean that tests are missing or that the environment is broken.
        differences: the reason for which a test differs; it must.
        unsteady: the reason for which a test differs in some runs only; it must exist.
    """

    passed: int = 0
    differences: Mapping[str, str] = field(default_factory=dict)
    unsteady: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Expectation:
        values = tomllib.loads(path.read_text())
        return cls(values["passed"], _reasons(values["differences"]), _reasons(values["unsteady"]))

    def reason(self, test: str) -> str:
        """Why the test may differ; empty if it may not."""
        return self.differences.get(test) or self.unsteady.get(test, "")


def _reasons(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    return {test: entry["reason"] for entry in entries for test in entry["tests"]}


def differences(stock: Run, product: Run) -> list[Difference]:
    """The tests whose states differ, by name."""
    return [
        Difference(test, one, other)
        for test in sorted({*stock.outcomes, *product.outcomes})
        if _state(one := stock.outcomes.get(test)) != _state(other := product.outcomes.get(test))
    ]


def _state(outcome: Outcome | None) -> State | None:
    return outcome.state if outcome else None


def problems(runs: Mapping[Mode, Run], expected: Expectation, *, whole: bool) -> list[str]:
    """What is wrong, a line each; none if the run proves that our runtime is equal to stock Cinder.

    Args:
        whole: all tests were run, so that the number of tests and the expected differences are meaningful.
    """
    different = {difference.test for difference in differences(runs[Mode.STOCK], runs[Mode.PRODUCT])}
    found = [f"{mode}: {worker}" for mode, run in runs.items() for worker in run.broken]
    found += [problem for mode, run in runs.items() for problem in _wrong_surroundings(mode, run)]
    if unexpected := [test for test in different if not expected.reason(test)]:
        found.append(f"tests that differ: {len(unexpected)}")
    if whole:
        found += [
            f"{mode}: only {passed} tests passed; expected at least {expected.passed}"
            for mode, run in runs.items()
            if (passed := run.count(State.PASSED)) < expected.passed
        ]
        gone = (expected.differences.keys() - different) | (expected.unsteady.keys() - runs[Mode.STOCK].outcomes.keys())
        found += [f"{test} no longer differs; remove it from the expected differences" for test in sorted(gone)]
    return found


def _wrong_surroundings(mode: Mode, run: Run) -> Iterator[str]:
    for surroundings in run.surroundings:
        if surroundings != INTENDED[mode]:
            yield f"{mode}: Cinder ran on {surroundings}; intended: {INTENDED[mode]}"
