"""Progress is shown on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

from csi_cinderlib.observe import progress

PROGRAM = """
import sys
from csi_cinderlib.observe import progress
with progress.shown("copying") as shown:
    for item in shown.over("records copied", iter([1, 2])):
        pass
    sys.stdin.readline()
"""


def test_a_terminal_shows_what_is_done_how_far_and_since_when_and_nothing_at_the_end() -> None:
    outer, inner = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stderr=inner, text=True) as process:
        os.close(inner)
        text = _read_until(outer, "records copied: 2 (")
        process.communicate("go on\n", timeout=60)
    rest = text + _read_until(outer, "\r", end=True)
    os.close(outer)
    line = rest.split("\r")[-2]
    assert re.search(r"\rrecords copied: 2 \(\d+ s\)", rest)
    assert rest.endswith("\r") and line.strip() == "" and len(line) >= len("records copied: 2 (1 s)")


def test_without_a_terminal_nothing_is_shown() -> None:
    slow = PROGRAM.replace("sys.stdin.readline()", "import time; time.sleep(progress.AFTER + 3 * progress.EACH)")
    done = subprocess.run([sys.executable, "-c", slow], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_what_ends_within_a_second_shows_nothing() -> None:
    """A machine that is too busy for that may take longer."""
    timed = f"import time; began = time.monotonic()\n{PROGRAM}\nprint(time.monotonic() - began)"
    outer, inner = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", timed],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=inner,
        timeout=60,
        check=True,
    )
    os.close(inner)
    assert _read_until(outer, "\n", end=True) == "" or float(done.stdout) >= progress.AFTER
    os.close(outer)


def _read_until(fd: int, mark: str, *, end: bool = False) -> str:
    """What the terminal gets until the mark, or all of it."""
    text, deadline = "", time.monotonic() + 60
    while end or mark not in text:
        assert select.select([fd], [], [], deadline - time.monotonic())[0], text
        try:
            read = os.read(fd, 4096).decode()
        except OSError:  # the program has ended
            break
        text += read
    return text
