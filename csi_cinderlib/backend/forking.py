"""Processes for drivers, forked from one warm process that has imported Cinder: 0.02 s and 10 MB for each instead of 1 s and 70 MB.

The warm process is the standard library's fork server. It starts with nothing of this process but its paths, so it holds no socket,
lock or thread of it, and it ends when this process ends, however that comes about.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from csi_cinderlib.host import kernel

WARM_MODULE = "csi_cinderlib.backend.warm"
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
"""linux/prctl.h."""

_context = multiprocessing.get_context("forkserver")
_guard = threading.Lock()


class Process:
    """A process and the two ways to it: a connection, and what it prints.

    Args:
        target: `module:function`, by name because only the new process may import it. It is called with the connection and `arguments`.
        name: as `ps` shows it.
    """

    def __init__(self, target: str, *arguments: Any, name: str) -> None:
        self.connection, theirs = _context.Pipe()
        output, printed = _context.Pipe(duplex=False)
        self._process: ForkServerProcess = _context.Process(
            target=_run, args=(target, theirs, printed, name, os.getpid(), arguments), name=name, daemon=True
        )
        with _guard:
            warm_up()
            self._process.start()
        theirs.close()
        printed.close()
        self.output = os.fdopen(os.dup(output.fileno()), "r", encoding="utf-8", errors="replace")
        output.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; False when the time was over first."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    @property
    def end(self) -> str:
        """How it ended, as a clause."""
        code = self._process.exitcode
        if code is None:
            return "is still running"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def warm_up() -> None:
    """Start the warm process, which takes a second; whoever needs it later finds it ready. Done already is fine."""
    _context.set_forkserver_preload([WARM_MODULE])
    forkserver.ensure_running()


def _run(
    target: str, connection: Connection, printed: Connection, name: str, parent: int, arguments: tuple[Any, ...]
) -> None:
    """In the new process."""
    for stream in (1, 2):
        os.dup2(printed.fileno(), stream)
    printed.close()
    kernel.call(
        "prctl", PR_SET_PDEATHSIG, signal.SIGKILL
    )  # when the warm process ends, which does so with the main one
    kernel.call("prctl", PR_SET_NAME, name.encode()[:15])
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group: the main process ends this one in time
    module, _, function = target.partition(":")
    run: Callable[..., None] = getattr(importlib.import_module(module), function)
    run(connection, parent, *arguments)
