"""The comparison of two runs notices all that can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.upstream import plan, report
from tests.upstream.__main__ import EXPECTED
from tests.upstream.comparison import INTENDED, Expectation, differences, problems
from tests.upstream.results import Mode, Outcome, Run, State, Writer, read


def run_of(mode: Mode, **states: State) -> Run:
    outcomes = {test: Outcome(test, state, text=f"Trace:\n{test} is {state}\n") for test, state in states.items()}
    return Run(outcomes, [INTENDED[mode]])


def both(stock: Mapping[str, State], product: Mapping[str, State]) -> Mapping[Mode, Run]:
    return {Mode.STOCK: run_of(Mode.STOCK, **stock), Mode.PRODUCT: run_of(Mode.PRODUCT, **product)}


EQUAL = {"test_a": State.PASSED, "test_b": State.SKIPPED, "test_c": State.FAILED}


def test_equal_runs_have_no_problem() -> None:
    assert problems(both(EQUAL, EQUAL), Expectation(passed=1), whole=True) == []


def test_a_test_that_ends_differently_fails_the_run_and_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code = report.show(both(EQUAL, {**EQUAL, "test_a": State.FAILED}), Expectation(), whole=True)
    shown = capsys.readouterr().out
    assert code == 1
    assert "test_a\n    stock    passed  test_a is passed\n    product  failed  test_a is failed\n" in shown
    assert "FAILED: tests that differ: 1\n" in shown


def test_an_expected_difference_is_shown_with_its_reason_only(capsys: pytest.CaptureFixture[str]) -> None:
    expected = Expectation(differences={"test_a": "a reason"})
    code = report.show(both(EQUAL, {**EQUAL, "test_a": State.FAILED}), expected, whole=True)
    shown = capsys.readouterr().out
    assert code == 0
    assert "1 expected: a reason\n" in shown
    assert "test_a" not in shown


@pytest.mark.parametrize("missing_from", list(Mode))
def test_a_test_that_only_one_mode_ran_is_a_problem(missing_from: Mode) -> None:
    runs = both(EQUAL, EQUAL)
    del runs[missing_from].outcomes["test_b"]
    assert problems(runs, Expectation(), whole=False) == ["tests that differ: 1"]
    assert [difference.test for difference in differences(runs[Mode.STOCK], runs[Mode.PRODUCT])] == ["test_b"]


def test_too_few_passed_tests_are_a_problem_of_a_whole_run_only() -> None:
    runs = both(EQUAL, EQUAL)
    assert problems(runs, Expectation(passed=2), whole=True) == [
        "stock: only 1 tests passed; expected at least 2",
        "product: only 1 tests passed; expected at least 2",
    ]
    assert problems(runs, Expectation(passed=2), whole=False) == []


def test_an_expected_difference_is_no_problem() -> None:
    expected = Expectation(differences={"test_c": "a reason"})
    assert problems(both(EQUAL, {**EQUAL, "test_c": State.PASSED}), expected, whole=True) == []


def test_an_unsteady_test_may_differ_or_not() -> None:
    expected = Expectation(unsteady={"test_c": "a race"})
    assert problems(both(EQUAL, EQUAL), expected, whole=True) == []
    assert problems(both(EQUAL, {**EQUAL, "test_c": State.PASSED}), expected, whole=True) == []


def test_an_unsteady_test_that_is_gone_is_a_problem() -> None:
    found = problems(both(EQUAL, EQUAL), Expectation(unsteady={"test_that_cinder_dropped": "a race"}), whole=True)
    assert found == ["test_that_cinder_dropped no longer differs; remove it from the expected differences"]


@pytest.mark.parametrize("test", ["test_c", "test_that_cinder_dropped"])
def test_an_expected_difference_that_is_gone_is_a_problem(test: str) -> None:
    found = problems(both(EQUAL, EQUAL), Expectation(differences={test: "a reason"}), whole=True)
    assert found == [f"{test} no longer differs; remove it from the expected differences"]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_run_on_the_wrong_cinder_is_a_problem(mode: Mode) -> None:
    runs = both(EQUAL, EQUAL)
    (other,) = set(Mode) - {mode}
    runs[mode].surroundings[:] = [INTENDED[other]]
    (found,) = problems(runs, Expectation(), whole=False)
    assert found.startswith(f"{mode}: Cinder ran on ")


def test_a_worker_that_broke_off_is_a_problem_and_names_its_test(tmp_path: Path) -> None:
    paths = [tmp_path / "product-1.jsonl", tmp_path / "product-2.jsonl", tmp_path / "product-3.jsonl"]
    with paths[0].open("w") as file:
        write_outcome(Writer(file), "test_a")
        file.write('{"outcome": {"test": "test_b"')  # killed while it wrote
    with paths[1].open("w") as file:
        write_outcome(Writer(file), "test_c")
        Writer(file).end(INTENDED[Mode.PRODUCT])
    run = read(paths)
    assert list(run.outcomes) == ["test_a", "test_c"]
    assert run.broken == [
        "product-1.jsonl ended while test_a was running",
        "product-3.jsonl ended while no test was running",
    ]
    runs = {Mode.STOCK: run_of(Mode.STOCK, test_a=State.PASSED, test_c=State.PASSED), Mode.PRODUCT: run}
    assert problems(runs, Expectation(), whole=False) == [f"product: {line}" for line in run.broken]


def write_outcome(writer: Writer, test: str) -> None:
    writer.running(test)
    writer.outcome(Outcome(test, State.PASSED, refused=("mount -t nfs",)))


def test_expected_differences_each_have_a_reason() -> None:
    expected = Expectation.load(EXPECTED)
    assert expected.passed > 12_000
    reasons = {**expected.differences, **expected.unsteady}
    assert len(reasons) == len(expected.differences) + len(expected.unsteady)
    assert all(test.startswith("cinder.tests.unit.") and reason for test, reason in reasons.items())


def test_every_module_is_in_one_shard() -> None:
    names = plan.modules(plan.source_root())
    assert len(names) > 200
    assert [name for shard in plan.shards(names) for name in shard] == names
    assert plan.shards(["a", "b"]) == [["a"], ["b"]]
