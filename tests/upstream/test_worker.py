"""Workers load the Cinder that their mode names, and keep Cinder's tests away from this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.upstream.comparison import INTENDED
from tests.upstream.processes import ROOT, Job, run
from tests.upstream.results import Mode, Outcome, Run, State, read

PYTHON = ROOT / ".venv-upstream" / "bin" / "python"
SPECIMENS = "tests.upstream.specimens"


@pytest.fixture(scope="module")
def python() -> str:
    assert PYTHON.exists(), "run `make .venv-upstream/.ready` first"
    return str(PYTHON)


@pytest.fixture(scope="module")
def specimens(python: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Mode, Run]:
    directory = tmp_path_factory.mktemp("specimens")
    jobs = {mode: Job(mode, [SPECIMENS], directory / f"{mode}.jsonl", python, limit=20) for mode in Mode}
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(run, jobs.values()))
    return {mode: read([job.output]) for mode, job in jobs.items()}


def test_a_module_of_cinder_runs_on_both_and_passes(python: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [python, "-m", "tests.upstream", "--results", str(tmp_path / "results"), "unit.test_ssh_utils"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = {mode: read([tmp_path / "results" / f"{mode}-1.jsonl"]) for mode in Mode}
    for mode, finished in runs.items():
        assert finished.surroundings == [INTENDED[mode]]
        assert finished.broken == []
        assert finished.count(State.PASSED) == len(finished.outcomes) >= 10
    assert "No unexpected difference" in done.stdout


@pytest.mark.parametrize("mode", list(Mode))
def test_programs_and_connections_are_refused_and_listed(specimens: Mapping[Mode, Run], mode: Mode) -> None:
    directly = specimen(specimens[mode], "BadManners.test_runs_a_program")
    by_shell = specimen(specimens[mode], "BadManners.test_runs_a_program_through_a_shell")
    connection = specimen(specimens[mode], "BadManners.test_connects")
    assert (directly.state, directly.refused) == (State.PASSED, ("mount -t nfs",))
    assert (by_shell.state, by_shell.refused) == (State.PASSED, ("mount -a",))
    assert (connection.state, connection.refused) == (State.PASSED, ("connect 192.0.2.1",))
    to_itself = specimen(specimens[mode], "BadManners.test_connects_to_itself")
    assert (to_itself.state, to_itself.refused) == (State.PASSED, ())


@pytest.mark.parametrize("mode", list(Mode))
def test_each_test_finds_the_standard_files_open(specimens: Mapping[Mode, Run], mode: Mode) -> None:
    assert specimen(specimens[mode], "BadManners.test_closes_standard_output").state is State.PASSED
    assert specimen(specimens[mode], "BadManners.test_finds_standard_output_open").state is State.PASSED


@pytest.mark.parametrize("mode", list(Mode))
def test_failures_and_skipped_tests_are_told_with_their_reason(specimens: Mapping[Mode, Run], mode: Mode) -> None:
    failed = specimen(specimens[mode], "BadManners.test_fails")
    skipped = specimen(specimens[mode], "BadManners.test_is_skipped")
    assert (failed.state, skipped.state, skipped.text) == (State.FAILED, State.SKIPPED, "not today")
    assert "'green' != 'native'" in failed.text


@pytest.mark.parametrize("mode", list(Mode))
def test_a_hanging_test_ends_the_worker_and_is_named(specimens: Mapping[Mode, Run], mode: Mode) -> None:
    assert specimens[mode].broken == [f"{mode}.jsonl ended while {SPECIMENS}.Hang.test_hangs was running"]


def specimen(finished: Run, name: str) -> Outcome:
    return finished.outcomes[f"{SPECIMENS}.{name}"]
