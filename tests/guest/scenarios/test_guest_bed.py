"""What every guest promises to the tests in it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.guest("bed")


def test_the_guest_is_another_machine_run_by_root_from_this_tree() -> None:
    assert platform.node() == "guest"
    assert os.geteuid() == 0
    assert (Path.cwd() / "pyproject.toml").exists()


def test_udev_answers() -> None:
    subprocess.run(["udevadm", "settle", "--timeout=180"], check=True)
    assert Path("/run/udev/control").exists()


def test_what_is_written_stays_in_the_guest(tmp_path: Path) -> None:
    Path("/etc/only-in-the-guest").touch()
    assert Path("/etc/only-in-the-guest").exists()
