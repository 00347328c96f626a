"""Progress of a command on the standard error of a terminal."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

AFTER, EACH = 1.0, 0.25
"""Seconds before progress is shown, and between two updates."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Progress:
    """Written by the command, read by the thread that shows it."""

    doing: str
    count: int = 0

    def over(self, doing: str, items: Iterable[Item]) -> Iterator[Item]:
        """Count the items as they are consumed."""
        self.doing, self.count = doing, 0
        for item in items:
            self.count += 1
            yield item


@contextmanager
def shown(doing: str) -> Iterator[Progress]:
    """Show progress after one second and remove it at the end. Nothing is shown without a terminal."""
    progress = Progress(doing)
    if not sys.stderr.isatty():
        yield progress
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(progress, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()


def _show(progress: Progress, ended: threading.Event) -> None:
    began, shown = time.monotonic(), ""
    wait = AFTER
    while not ended.wait(wait):
        wait = EACH
        count = f": {progress.count}" if progress.count else ""
        line = f"{progress.doing}{count} ({time.monotonic() - began:.0f} s)"[: shutil.get_terminal_size().columns - 1]
        _write(f"\r{line.ljust(len(shown))}")
        shown = line
    if shown:
        _write(f"\r{' ' * len(shown)}\r")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
