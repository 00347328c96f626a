"""Controllers as processes that a test may kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
Action = list[Any]
State = dict[str, Any]
Array = dict[str, list[str]]
"""Traits and faults of a fake array, instead of loop files."""


class Processes:
    """Runs actions, each time in a fresh process that has Cinder imported already."""

    def __init__(self, warm_up: Path) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.program.crash.controller_process", str(warm_up)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, state_dir: Path, actions: list[Action], *, kill_at: str = "", array: Array | None = None
    ) -> list[State]:
        """What is there after each action; nothing if the process was killed, at the fault point or by the fake's driver."""
        killed = bool(kill_at) or any(fault.endswith("=kill") for fault in (array or {}).get("faults", ()))
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(
            json.dumps({"state_dir": str(state_dir), "actions": actions, "kill_at": kill_at, "array": array}) + "\n"
        )
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        assert not answer["error"], answer["error"]
        assert answer["status"] == (-signal.SIGKILL if killed else 0), f"{kill_at or array} was not reached"
        states: list[State] = answer["states"]
        return states

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        assert self._server.wait(60) == 0


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    started = Processes(tmp_path_factory.mktemp("warm-up"))
    yield started
    started.close()
