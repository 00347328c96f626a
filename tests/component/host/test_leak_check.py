"""The check at the end of every run, tried on runs that leave something behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.host import devices

TESTS = Path(__file__).parents[2]


def run(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run one test with the suite's conftest as a plugin."""
    (tmp_path / "test_inner.py").write_text(f"def test_inner(tmp_path):\n    {body}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "conftest", f"--basetemp={tmp_path}/base",
         str(tmp_path / "test_inner.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", "CINDERLIB_TEST_GRACE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_run_that_leaves_nothing_passes(tmp_path: Path) -> None:
    done = run(tmp_path, "assert True")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_leaves_a_process_fails_and_names_it(tmp_path: Path) -> None:
    body = "import subprocess; subprocess.Popen(['setsid', 'sleep', '86'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    done = run(tmp_path, body)
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "sleep 86" in line and line.startswith("process "))
    os.kill(int(line.split()[1].rstrip(":")), signal.SIGKILL)


@pytest.mark.root
def test_a_run_that_leaves_a_loop_device_fails_and_names_it(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "from csi_cinderlib.host import devices\n"
        "    (tmp_path / 'left.img').write_bytes(bytes(1 << 20)); devices.attach_file(str(tmp_path / 'left.img'))",
    )
    (left,) = (tmp_path / "base").rglob("left.img")
    device = devices.find_attached(str(left))
    assert device
    devices.detach_file(device)
    assert done.returncode == 1
    assert f"loop device {device} on {left}" in done.stdout
