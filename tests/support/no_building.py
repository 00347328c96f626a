"""Tests download and compile nothing: that takes minutes, and a test's time limit is for hangs. `make tools` does it before."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

_PROGRAMS = frozenset(
    "apt apt-get cargo cc curl debootstrap gcc go make npm pip pip3 uv wget".split(),
)
_BUILDAH_COMMANDS = frozenset({"bud", "build", "pull"})
_OFFLINE = {"GOPROXY": "off", "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
"""For what the programs under test start themselves."""
_EVENTS = {"subprocess.Popen": 1, "os.posix_spawn": 1, "os.exec": 1}
"""Audit events of CPython, and which of their arguments is the argument vector."""


class Forbidden(RuntimeError):
    """A test tried to download or to compile something."""


def forbid() -> None:
    """From here on, in this process for good and in its children as far as their tools listen."""
    os.environ.update(_OFFLINE)
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in _EVENTS:
        argv = arguments[_EVENTS[event]]
        words = [os.fsdecode(word) for word in argv] if isinstance(argv, Sequence) and not isinstance(argv, str) else []
        if words and _builds(words):
            raise Forbidden(f"a test ran `{' '.join(words[:4])}`: what it needs belongs into tools/catalogue.py")


def _builds(words: Sequence[str]) -> bool:
    program = Path(words[0]).name
    if program == "buildah":
        return not _BUILDAH_COMMANDS.isdisjoint(words)
    module = words[2] if len(words) > 2 and program.startswith("python") and words[1] == "-m" else ""
    return program in _PROGRAMS or module in _PROGRAMS
