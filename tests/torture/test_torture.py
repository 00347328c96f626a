"""Half a minute of torture on each bed, and an interrupted run. `make torture` runs longer."""

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
SEED = 20261128


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, because sockets lie below it."""
    return tmp_path_factory.mktemp("t")


@contextmanager
def started(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """It keeps everything below `directory`."""
    argv = [sys.executable, "-m", "tests.torture", *arguments]
    environment = {**os.environ, "TMPDIR": str(directory)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()  # of a test that failed; it cleans up


@pytest.mark.parametrize("bed", ["loopfile", "array"])
def test_torture_breaks_no_promise(bed: str, directory: Path) -> None:
    with started(directory, "--bed", bed, "--seed", str(SEED), "--minutes", "0.3") as process:
        output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert "syscall-kills" in output
    assert list(directory.iterdir()) == []


def test_an_interrupted_run_leaves_nothing_behind(directory: Path) -> None:
    with started(directory, "--minutes", "5") as process:
        deadline = time.monotonic() + 120
        while len(loops.below(str(directory))) < 5:  # three of the bed, and volumes
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert loops.below(str(directory)) == {}
    assert list(directory.iterdir()) == []
