"""However a controller ends, no password of a back end lies in its state directory or in /tmp."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.program.serve.conftest import Calls, Start

CANARY = "canary-b81d77"
CONFIG = """
mode: controller
backends:
  one: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_password: {env: PASSWORD}}}
"""


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_no_end_leaves_a_password(start: Start, tmp_path: Path, end: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    driver = start(config=CONFIG, environment={"PASSWORD": CANARY, "TMPDIR": str(temporary)})
    driver.wait_until_ready()
    Calls(driver).create("a")
    while_running = holders(tmp_path)
    {"stop": driver.stop, "kill": driver.kill}[end]()
    assert (while_running, holders(tmp_path)) == ([], [])


def holders(directory: Path) -> list[Path]:
    """The files with the password in them."""
    files = {path: content(path) for path in directory.rglob("*") if path.is_file()}
    assert files
    return [path for path, found in files.items() if CANARY.encode() in found]


def content(path: Path) -> bytes:
    """Nothing of a file that was removed just now, as a journal of SQLite is."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""
