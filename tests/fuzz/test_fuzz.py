"""A minute of fuzzing, and an interrupted run. `make fuzz` makes a million requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import loops

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("CINDERLIB_FUZZ_SEED", "20261129")
REQUESTS = "20000"


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, because a socket lies below it."""
    return tmp_path_factory.mktemp("f")


@contextmanager
def started(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """It keeps everything below `directory`."""
    argv = [sys.executable, "-m", "tests.fuzz", "--seed", SEED, *arguments]
    environment = {**os.environ, "TMPDIR": str(directory)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()  # of a test that failed; it cleans up


def test_no_request_breaks_or_fills_the_server(directory: Path) -> None:
    with started(directory, "--requests", REQUESTS) as process:
        output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert f"fuzz: {REQUESTS} requests, " in output
    assert list(directory.iterdir()) == []


def test_an_interrupted_run_leaves_nothing_behind(directory: Path) -> None:
    with started(directory, "--requests", "1000000") as process:
        deadline = time.monotonic() + 120
        while len(loops.below(str(directory))) < 4:  # two of the bed, and volumes
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert loops.below(str(directory)) == {}
    assert list(directory.iterdir()) == []
