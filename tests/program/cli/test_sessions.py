"""What commands print, as files that can be read: `sessions/*.txt` are what a shell shows.

`CINDERLIB_TEST_WRITE_SESSIONS=1 pytest tests/program/cli/test_sessions.py` writes their output anew; look at the difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.program.cli.conftest import Run

SESSIONS = sorted((Path(__file__).parent / "sessions").glob("*.txt"))
VARYING = (
    (r"\d+\.\d+ GiB free of \d+\.\d+ GiB", "N GiB free of N GiB"),
    (r"[\w-]{43}=", "KEY"),
    (r"new key \S+", "new key ID"),
    (r"csi-cinderlib \d+\.\d+\.\d+", "csi-cinderlib VERSION"),
)
"""What is different in each run."""


def perform(lines: Sequence[str], run: Run, directory: Path) -> str:
    text = ""
    for line in lines:
        done = run(line)
        output = done.stdout.replace(str(directory), "/srv")
        for pattern, steady in VARYING:
            output = re.sub(pattern, steady, output)
        text += f"$ {line}\n{output}" + (f"[exit {done.returncode}]\n" if done.returncode else "")
    return text


@pytest.mark.parametrize("session", SESSIONS, ids=lambda path: path.stem)
def test_a_session_is_as_it_is_written(session: Path, run: Run, directory: Path) -> None:
    written = session.read_text()
    shown = perform(re.findall(r"^\$ (.*)$", written, re.MULTILINE), run, directory)
    if os.environ.get("CINDERLIB_TEST_WRITE_SESSIONS"):
        session.write_text(shown)
    assert shown == session.read_text()
