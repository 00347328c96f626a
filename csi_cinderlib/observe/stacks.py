"""Stacks of the threads of this process, to examine a process that seems to hang."""

from __future__ import annotations

import sys
import threading
import traceback

from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


def collect() -> list[dict[str, object]]:
    """Each stack once, with the names of its threads. Contains lines of code but no values of variables."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    threads: dict[str, list[str]] = {}
    for ident, frame in sys._current_frames().items():  # the only way to another thread's stack
        stack = "".join(traceback.format_stack(frame))
        threads.setdefault(stack, []).append(names.get(ident, f"thread {ident}"))
    return [{"threads": sorted(threads[stack]), "stack": stack} for stack in sorted(threads, key=threads.__getitem__)]


def log() -> None:
    """Log one event for each stack."""
    found = collect()
    _log.warning("thread stacks", stacks=len(found))
    for entry in found:
        _log.warning("thread stack", **entry)
