"""A Python that can import cinderlib 5.2.0, to measure against it. `python -m tests.bench.library.original` prepares one.

It needs Python 3.10 on this machine, and a package index. Without it, `make bench` uses the recorded figures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.catalogue import cache

VARIABLE = "CINDERLIB_BENCH_PYTHON"
"""Names another Python with cinderlib 5.2.0."""
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def find() -> Path | None:
    """The Python, if there is one."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    return _folder() / "bin" / "python" if (_folder() / "ready").exists() else None


def _folder() -> Path:
    return cache() / "cinderlib-5.2.0"


def prepare() -> str:
    """Make the environment, if there is none. Returns the reason if that is not possible, else ""."""
    if find():
        return ""
    folder, base, uv = _folder(), _python(), Path(sys.executable).with_name("uv")
    if base is None:
        return "there is no Python 3.10"
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--clear", "--python", base, folder],
        [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", "--requirements", REQUIREMENTS],
    ]
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip()
    (folder / "ready").touch()
    return ""


def _python() -> Path | None:
    """A Python 3.10 that runs: pyenv has a program of that name for versions that are not enabled."""
    named = [Path(found)] if (found := shutil.which("python3.10")) else []
    for python in (*named, *sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python3.10"))):
        if not subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode:
            return python
    return None


if __name__ == "__main__" and (reason := prepare()):
    print(f"cinderlib 5.2.0 is not measured, its recorded figures are used: {reason}", file=sys.stderr)
