"""The tutorial's programs do what the tutorial says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.demo.process import DriverProcess

TUTORIAL = Path(__file__).parents[3] / "docs/tutorial/first-volume.md"

pytestmark = pytest.mark.root


def test_a_volume_is_made_written_to_found_again_and_taken_down(tmp_path: Path) -> None:
    first, last = (
        text.replace("/tmp/first", str(tmp_path))
        for text in re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    )
    driver = DriverProcess(tmp_path)
    try:
        driver.wait_until_ready()
        made = [run(first), run(first)]
        assert made[0] == made[1]
        assert (tmp_path / "mounted/hello").read_text() == "I am on a volume\n"
        run(first.replace('Path("' + str(tmp_path) + '/mounted/hello").write_text("I am on a volume\\n")', "") + last)
        assert list((tmp_path / "volumes").glob("volume-*")) == []
        assert not (tmp_path / "mounted").exists()
    finally:
        assert driver.stop() == 0


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout
