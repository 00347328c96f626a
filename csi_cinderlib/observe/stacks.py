"""What the threads of this process do right now, for a process that seems to hang."""

from __future__ import annotations

import sys
import threading
import traceback

from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


def collect() -> list[dict[str, object]]:
    """Each stack once, with the names of the threads that have it. Lines of code only, no values of variables."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    threads: dict[str, list[str]] = {}
    for ident, frame in sys._current_frames().items():  # the only way to another thread's stack
        stack = "".join(traceback.format_stack(frame))
        threads.setdefault(stack, []).append(names.get(ident, f"thread {ident}"))
    return [{"threads": sorted(threads[stack]), "stack": stack} for stack in sorted(threads, key=threads.__getitem__)]


def log() -> None:
    """Write them to the log, one event for each stack."""
    found = collect()
    _log.warning("thread stacks follow", stacks=len(found))
    for entry in found:
        _log.warning("thread stack", **entry)
