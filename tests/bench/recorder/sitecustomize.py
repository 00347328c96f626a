"""Loaded by each Python process that has this folder on its path: notes the functions of the package that are called.

Only while the byte at the start of the file CINDERLIB_BENCH_WINDOW is not 0. Each function is noted once for each value of that byte
and each process, as a line of the file CINDERLIB_BENCH_CALLS.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from types import CodeType, FrameType

PACKAGE = f"{os.sep}csi_cinderlib{os.sep}"


def _record() -> None:
    calls = os.environ["CINDERLIB_BENCH_CALLS"]
    with open(os.environ["CINDERLIB_BENCH_WINDOW"], "rb") as file:  # noqa: PTH123 - pathlib would be imported in all processes
        window = mmap.mmap(file.fileno(), 1, prot=mmap.PROT_READ)  # forked processes have it, too
    seen: set[tuple[int, CodeType]] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or not (number := window[0]) or (number, frame.f_code) in seen:
            return
        code = frame.f_code
        seen.add((number, code))
        _, package, path = code.co_filename.rpartition(PACKAGE)
        if package and not code.co_name.startswith("<"):  # comprehensions and modules are not functions
            with open(calls, "a", encoding="utf-8") as lines:  # noqa: PTH123 - a driver's process closes inherited files
                lines.write(f"{number} {os.getpid()} {path} {code.co_qualname}\n")

    threading.setprofile(note)
    sys.setprofile(note)


if "CINDERLIB_BENCH_CALLS" in os.environ:
    _record()
