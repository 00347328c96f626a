"""`make tools` with a stand-in for Go, because tests compile nothing; everything else is real."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.catalogue import ROOT

_GO = """#!/bin/sh
echo "$@" >> "$STAND_IN_LOG"
case "$1 $2" in
"env GOVERSION") echo "go$STAND_IN_VERSION" ;;
"mod download")
    echo "$STAND_IN_MODULE"
    [ -z "$STAND_IN_DOWNLOAD" ] || { echo "$STAND_IN_DOWNLOAD" >&2; exit 1; } ;;
"build "*)
    while ! [ -e "$STAND_IN_UNTIL" ]; do sleep 0.1; done
    [ -z "$STAND_IN_BUILD" ] || { echo "$STAND_IN_BUILD" >&2; exit 1; }
    while [ "$1" != -o ]; do shift; done
    echo "#!/bin/sh" > "$2" && chmod +x "$2" ;;
esac
"""


class Tools:
    """A cache of a test's own, and ways to fill it."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.log = folder / "go.log"
        self.programs = folder / "programs"
        self.programs.mkdir()
        self._started: list[subprocess.Popen[str]] = []
        (self.programs / "go").write_text(_GO)
        (self.programs / "go").chmod(0o755)
        self._environment = {
            **os.environ,
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "CINDERLIB_CACHE": str(self.cache),
            "UV_CACHE_DIR": str(folder / "uv"),
            "STAND_IN_LOG": str(self.log),
        }

    def start(self, *arguments: str, **stand_in: str) -> subprocess.Popen[str]:
        """`python -m tools`, with what the stand-in for Go says.

        Args:
            stand_in: `download`, `build`: it fails with this; `module`: a downloaded module as JSON; `until` when it
                compiles: until this file is there; its `version`.
        """
        stand_in = {"download": "", "build": "", "module": "", "until": "/", "version": "1.99.1"} | stand_in
        process = subprocess.Popen(
            [sys.executable, "-m", "tools", *arguments],
            cwd=ROOT,
            env={**self._environment, **{f"STAND_IN_{name.upper()}": value for name, value in stand_in.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str, **stand_in: str) -> tuple[int, str]:
        """Its exit code and what it printed."""
        process = self.start(*arguments, **stand_in)
        output = process.communicate(timeout=60)[0]
        return process.returncode, output

    def calls(self, command: str) -> list[str]:
        """How Go was called so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(command)]

    def wait_for_call(self, command: str) -> None:
        deadline = time.monotonic() + 60
        while not self.calls(command):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def left(self) -> list[str]:
        """Work folders."""
        return [path.name for path in (self.cache / "tools").glob(".*")]

    def end(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tools]:
    made = Tools(tmp_path)
    monkeypatch.setenv("CINDERLIB_CACHE", str(made.cache))
    yield made
    made.end()
