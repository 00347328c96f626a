"""Every driver through two workers at a time, each with a limit on its time."""

from __future__ import annotations

import json
import os
import queue
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKERS = 2
SECONDS = 180.0
"""For one driver; its worker is ended then, and another goes on with the rest."""
START_SECONDS = 240.0


@dataclass(frozen=True)
class Tried:
    """What came of one driver: kinds of error and messages, without options and with those of its example."""

    driver: str
    bare: tuple[str, str]
    example: tuple[str, str]
    seconds: float
    refused: tuple[str, ...] = ()
    """Calls of Cinder's database that are not served."""


def walk(drivers: Sequence[str], kind: str = "stand-ins") -> dict[str, Tried]:
    """Try all of them."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for driver in drivers:
        waiting.put(driver)
    found: dict[str, Tried] = {}
    threads = [threading.Thread(target=_work, args=(waiting, found, kind)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _work(waiting: queue.SimpleQueue[str], found: dict[str, Tried], kind: str) -> None:
    worker = _Worker(kind)
    try:
        while True:
            try:
                driver = waiting.get_nowait()
            except queue.Empty:
                return
            answer = worker.ask(driver)
            if answer is None:
                found[driver] = Tried(driver, ("Stuck", worker.said()), ("Stuck", ""), SECONDS)
                worker.end()
                worker = _Worker(kind)
            else:
                found[driver] = Tried(
                    driver, tuple(answer["bare"]), tuple(answer["example"]), answer["seconds"], tuple(answer["refused"])
                )
    finally:
        worker.end()


class _Worker:
    def __init__(self, kind: str) -> None:
        # It is killed in the end, so what it makes is put where it can be removed.
        self._directory = tempfile.TemporaryDirectory(prefix="walk-")
        environment = {**os.environ, "no_proxy": "*", "PYTHONWARNINGS": "ignore", "TMPDIR": self._directory.name}
        self._errors = Path(self._directory.name) / "errors"
        self._child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors.open("w"), text=True, bufsize=1,
            env=environment, cwd=Path(__file__).parents[4],
        )  # fmt: skip
        self._limit = START_SECONDS

    def ask(self, driver: str) -> Any:
        """The worker's answer, or None when it takes too long or dies."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(driver + "\n")
        self._child.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(self._limit):
                return None
        self._limit = SECONDS
        line = self._child.stdout.readline()
        return json.loads(line) if line else None

    def said(self) -> str:
        return self._errors.read_text()[-500:]

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()
        self._directory.cleanup()
