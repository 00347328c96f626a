"""Commands inside the guest."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


class CommandFailed(AssertionError):
    """A command ended with an exit code that the test did not expect."""


def run(*command: str | Path, ok: Sequence[int] = (0,), input: str | None = None, timeout: float = 200) -> str:
    """Run an argv and return its standard output. Raises CommandFailed with all that it said."""
    done = subprocess.run(
        [str(word) for word in command],
        input=input,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        # Daemons live as long as the guest: they are not what a test session left behind.
        env={name: value for name, value in os.environ.items() if name != "CINDERLIB_TEST_SESSION"},
    )
    if done.returncode not in ok:
        raise CommandFailed(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def require(*tools: str) -> None:
    """Skip the test, naming what is missing, unless all these programs are installed."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def modprobe(*names: str, **parameters: str | int) -> None:
    """Load modules; parameters go to the one module named. Skips the test when this kernel lacks one."""
    for name in names:
        try:
            run("modprobe", name, *(f"{key}={value}" for key, value in parameters.items()))
        except CommandFailed as problem:
            pytest.skip(f"this kernel has no {name}: {problem}")


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 120) -> None:
    """Ask until it holds; an AssertionError names what did not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


def settle() -> None:
    run("udevadm", "settle", "--timeout=180")


def keep_in_memory(path: Path) -> None:
    """Let the ext4 that is mounted there write its journal only when it is told to, and not also every five seconds."""
    run("mount", "-o", "remount,commit=600", path)


def mounted(path: Path, kind: str, *options: str, source: str = "none") -> None:
    """Mount there unless something is mounted there already."""
    path.mkdir(parents=True, exist_ok=True)
    if not path.is_mount():
        run("mount", "-t", kind, *(["-o", ",".join(options)] if options else []), source, path)
