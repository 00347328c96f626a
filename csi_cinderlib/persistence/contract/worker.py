"""A separate process with several writer threads: `python -m csi_cinderlib.persistence.contract.worker`.

Standard input is a JSON object (see `Task`). For each answer of the store, a JSON list is written to standard output at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from csi_cinderlib.persistence.contract.harness import Harness
from csi_cinderlib.persistence.contract.history import Event, contend, live


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The task of the process: `contend` for the ids, or `live` until killed if there are no ids."""

    plugin: str
    options: dict[str, object]
    state_dir: str
    writers: Sequence[str]
    ids: Sequence[str] = ()


@contextmanager
def process(harness: Harness, writers: Sequence[str], ids: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Start a process; it is killed at the end if it is still running."""
    task = Task(
        plugin=harness.plugin, options=dict(harness.options), state_dir=str(harness.state_dir), writers=writers, ids=ids
    )
    argv = [sys.executable, "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        try:
            assert child.stdin is not None
            child.stdin.write(json.dumps(asdict(task)))
            child.stdin.close()
            child.stdin = None
            yield child
        finally:
            child.kill()


def events_in(output: str) -> list[Event]:
    """Parse complete lines only: the last line of a killed process may be truncated."""
    return [Event(*json.loads(line)) for line in output.splitlines(keepends=True) if line.endswith("\n")]


def main() -> None:
    task = Task(**json.load(sys.stdin))
    store = Harness(plugin=task.plugin, options=task.options, state_dir=Path(task.state_dir)).open()

    def emit(event: Event) -> None:
        os.write(
            1, (json.dumps(astuple(event)) + "\n").encode()
        )  # one system call, so that lines of threads do not mix

    def write(writer: str) -> None:
        if task.ids:
            contend(store, writer, task.ids, emit)
        else:
            live(store, writer, emit, threading.Event())

    with ThreadPoolExecutor(len(task.writers)) as pool:
        for done in [pool.submit(write, writer) for writer in task.writers]:
            done.result()
    store.close()


if __name__ == "__main__":
    main()
