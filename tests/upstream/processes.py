"""Runs the workers of both modes, as many at a time as there are CPUs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.upstream import plan, results
from tests.upstream.results import Mode, Run

ROOT = Path(__file__).parents[2]
GENTLE_LIMIT = 300
"""Seconds after which Cinder's own base class fails a test, if it can. Both limits are for hangs: no test needs as long."""


@dataclass(frozen=True, slots=True)
class Job:
    """One worker.

    Attributes:
        output: the file that gets its results.
        python: the interpreter, which must have Cinder and the libraries of its tests.
        limit: seconds after which a test ends the worker.
    """

    mode: Mode
    modules: Sequence[str]
    output: Path
    python: str = sys.executable
    limit: float = 600

    @property
    def log(self) -> Path:
        """What the worker says besides; the stacks of its threads if a test took too long."""
        return self.output.with_suffix(".log")


def run_modes(modules: Sequence[str], directory: Path) -> Mapping[Mode, Run]:
    """Run the modules in both modes; the files stay in `directory`."""
    jobs = [
        Job(mode, shard, directory / f"{mode}-{number}.jsonl")
        for number, shard in enumerate(plan.shards(modules), start=1)
        for mode in Mode
    ]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for running in as_completed([pool.submit(run, job) for job in jobs]):
            print(running.result(), flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted run starts no more workers
    return {mode: results.read(job.output for job in jobs if job.mode is mode) for mode in Mode}


def run(job: Job) -> str:
    """Run a worker to its end.

    Returns:
        one line about it.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="csi-cinderlib-upstream-") as home, job.log.open("w") as log:
        code = subprocess.run(
            [job.python, "-m", "tests.upstream.worker", job.mode, str(job.output), str(job.limit), *job.modules],
            cwd=ROOT,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        ).returncode
    outcome = f"exit code {code}, see {job.log}" if code else f"{len(results.read([job.output]).outcomes)} tests"
    return f"{job.output.stem:<10} {len(job.modules):3d} modules, {outcome}, {time.monotonic() - begun:.0f} s"


def environment(home: str) -> dict[str, str]:
    """The same for every run, so that results do not depend on the caller: nothing is inherited but the path of programs."""
    return {
        "CINDERLIB_LIBRARY_STATE_DIR": f"{home}/library",
        "HOME": home,
        "LANG": "C.UTF-8",
        "OS_STDERR_CAPTURE": "1",
        "OS_STDOUT_CAPTURE": "1",
        "OS_TEST_TIMEOUT": str(GENTLE_LIMIT),
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONHASHSEED": "0",
        "TMPDIR": home,
        "TZ": "UTC",
    }
