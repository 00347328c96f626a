"""No process of the driver leaves a core, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program.serve.conftest import Start, until, whole_log
from tests.support.processes import descendants, drivers

CONFIG = "backends:\n  quick: {driver: tests.support.fakes.nothing.NothingDriver}\n"


def core_limits(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


@pytest.mark.parametrize("mode", ["node", "controller", "all"])
def test_no_process_may_write_a_core(start: Start, mode: str) -> None:
    driver = start("--mode", mode, config=CONFIG)
    driver.wait_until_ready()
    if mode != "node":
        until(lambda: "quick" in drivers(driver.pid), driver)
    processes = [driver.pid, *descendants(driver.pid)]
    assert {pid: core_limits(pid) for pid in processes} == {pid: ["0", "0"] for pid in processes}


LOOK = """
import subprocess, sys, time
from pathlib import Path
from csi_cinderlib.demo.process import DriverProcess
from tests.support.processes import descendants, drivers

def show(pid):
    try:
        Path(f"/proc/{pid}/environ").read_bytes()
        print("shown")
    except PermissionError:
        print("hidden")

state = Path(sys.argv[1])
driver = DriverProcess(state, ("--mode", "controller", "--config", str(state / "config.yaml")))
sleeper = subprocess.Popen(["sleep", "600"])
try:
    driver.wait_until_ready()
    while "quick" not in drivers(driver.pid):
        time.sleep(0.05)
    show(sleeper.pid)
    for pid in (driver.pid, *descendants(driver.pid)):
        show(pid)
finally:
    sleeper.kill()
    driver.stop()
"""


@pytest.mark.root
def test_no_process_shows_its_environment_to_another_of_its_user(tmp_path: Path) -> None:
    """Nothing here may trace what it must not, as root may otherwise; what is no part of the driver is seen."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "look.py").write_text(LOOK)
    argv = [
        "setpriv",
        "--bounding-set=-sys_ptrace,-sys_admin,-perfmon",
        sys.executable,
        str(tmp_path / "look.py"),
        str(tmp_path),
    ]
    looked = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."})
    assert looked.returncode == 0, looked.stderr
    sleeper, *processes = looked.stdout.splitlines()
    assert (sleeper, len(processes) >= 3, set(processes)) == ("shown", True, {"hidden"})


def test_an_aborted_process_writes_no_core(start: Start, tmp_path: Path) -> None:
    driver = start("--mode", "controller", config=CONFIG)
    driver.wait_until_ready()
    until(lambda: "quick" in drivers(driver.pid), driver)
    os.kill(drivers(driver.pid)["quick"], signal.SIGABRT)
    until(lambda: "SIGABRT" in whole_log(driver), driver)
    assert not [*Path().glob("core*"), *tmp_path.rglob("core*")]
