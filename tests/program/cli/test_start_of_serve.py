"""Signals that reach `serve` before its handlers are set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from csi_cinderlib.app.signals import NUMBERS
from tests.support.repeating import until


def ignored(pid: int) -> int:
    """The signals that a process ignores, as a mask."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")), 16)


PAUSED = (
    "import importlib, sys, time; from csi_cinderlib import cli; "
    "importlib.import_module = lambda name: time.sleep(300); sys.exit(cli.main())"
)
"""The command up to the import of its module."""


@pytest.mark.parametrize("number", NUMBERS)
def test_serve_survives_a_signal_during_its_imports(
    number: signal.Signals, environment: Mapping[str, str], directory: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", PAUSED, "serve"], cwd=directory, env=environment) as process:
        try:
            until(lambda: bool(ignored(process.pid) & 1 << number - 1))
            os.kill(process.pid, number)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_at_a_signal_during_its_imports(
    number: signal.Signals, environment: Mapping[str, str], directory: Path
) -> None:
    command = [sys.executable, "-c", PAUSED, "serve"]
    with subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: bool(ignored(process.pid) & 1 << NUMBERS[-1] - 1))
            os.kill(process.pid, number)
            assert process.communicate(timeout=10)[1] == b""
            assert process.returncode == 0
        finally:
            process.kill()
