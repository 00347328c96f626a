"""Prints a run for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.upstream.comparison import Difference, Expectation, differences
from tests.upstream.results import Mode, Run, State


def show(runs: Mapping[Mode, Run], expected: Expectation, problems: Sequence[str]) -> None:
    found = differences(runs[Mode.STOCK], runs[Mode.PRODUCT])
    for line in (*_columns(runs), "", *_commands(runs), *_differences(found, expected), *_verdict(problems)):
        print(line)


def _columns(runs: Mapping[Mode, Run]) -> Iterator[str]:
    yield _row("", *Mode)
    yield _row("run", *(len(runs[mode].outcomes) for mode in Mode))
    for state in State:
        yield _row(state, *(runs[mode].count(state) for mode in Mode))


def _row(title: str, *values: object) -> str:
    return f"{title:<24}" + "".join(f"{value!s:>10}" for value in values)


def _commands(runs: Mapping[Mode, Run]) -> Iterator[str]:
    """Programs that tests wanted to run, by name and number of attempts."""
    wanted = {mode: Counter(_programs(runs[mode])) for mode in Mode}
    names = sorted(set().union(*wanted.values()))
    if names:
        yield _row("programs refused", *(wanted[mode].total() for mode in Mode))
        yield from (_row(f"  {name}", *(wanted[mode][name] for mode in Mode)) for name in names)
        yield ""


def _programs(run: Run) -> Iterator[str]:
    for outcome in run.outcomes.values():
        for command in outcome.commands:
            yield command.partition(" ")[0].rpartition("/")[2][:20]


def _differences(found: Iterable[Difference], expected: Expectation) -> Iterator[str]:
    reasons = Counter(expected.differences[one.test] for one in found if one.test in expected.differences)
    for reason, number in reasons.items():
        yield f"{number:3d} expected differences: {reason}"
    for difference in found:
        if difference.test not in expected.differences:
            yield from difference.lines()


def _verdict(problems: Sequence[str]) -> Iterator[str]:
    yield from (f"FAILED: {problem}" for problem in problems)
    if not problems:
        yield "Our runtime and stock Cinder are equal by Cinder's own tests."
