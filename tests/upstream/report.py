"""Prints a run for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.upstream.comparison import Difference, Expectation, differences, problems
from tests.upstream.results import Mode, Run, State


def show(runs: Mapping[Mode, Run], expected: Expectation, *, whole: bool) -> int:
    """Print both columns, the differences and the verdict.

    Returns:
        the exit code: 0 if our runtime has proved equal to stock Cinder.
    """
    found = differences(runs[Mode.STOCK], runs[Mode.PRODUCT])
    wrong = problems(runs, expected, whole=whole)
    for line in (*_columns(runs), "", *_refused(runs), *_differences(found, expected), *_verdict(wrong)):
        print(line)
    return 1 if wrong else 0


def _columns(runs: Mapping[Mode, Run]) -> Iterator[str]:
    yield _row("", *Mode)
    yield _row("run", *(len(runs[mode].outcomes) for mode in Mode))
    for state in State:
        yield _row(state, *(runs[mode].count(state) for mode in Mode))


def _row(title: str, *values: object) -> str:
    return f"{title:<24}" + "".join(f"{value!s:>10}" for value in values)


def _refused(runs: Mapping[Mode, Run]) -> Iterator[str]:
    """What tests tried outside their process, by name of the program, and how often."""
    wanted = {mode: Counter(_programs(runs[mode])) for mode in Mode}
    names = sorted(set().union(*wanted.values()))
    if names:
        yield _row("refused to tests", *(wanted[mode].total() for mode in Mode))
        yield from (_row(f"  {name}", *(wanted[mode][name] for mode in Mode)) for name in names)
        yield ""


def _programs(run: Run) -> Iterator[str]:
    for outcome in run.outcomes.values():
        for command in outcome.refused:
            yield command.partition(" ")[0].rpartition("/")[2][:20]


def _differences(found: Iterable[Difference], expected: Expectation) -> Iterator[str]:
    reasons = Counter(reason for difference in found if (reason := expected.reason(difference.test)))
    for reason, number in reasons.items():
        yield f"{number:3d} expected: {reason}"
    for difference in found:
        if not expected.reason(difference.test):
            yield from difference.lines()


def _verdict(wrong: Sequence[str]) -> Iterator[str]:
    yield from (f"FAILED: {problem}" for problem in wrong)
    if not wrong:
        yield "No unexpected difference between stock Cinder and our runtime."
