"""All of Cinder's drivers behave with our stand-ins exactly as with Cinder's own modules and real eventlet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.registered import registered

pytestmark = pytest.mark.timeout(1200)  # all drivers twice
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    processes = {}
    for how in ("ours", "stock"):
        directory = tmp_path_factory.mktemp(how)
        command = [sys.executable, "-m", "tests.support.fakes.every_driver", how, str(directory)]
        processes[how] = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    said = {}
    try:
        for how, process in processes.items():
            out, _ = process.communicate(timeout=600)
            said[how] = json.loads(out.splitlines()[-1])
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return said


def plain(outcome: list[Any]) -> list[Any]:
    """Addresses of objects and directories differ between two processes."""
    import re

    return json.loads(re.sub(r"0x[0-9a-f]+|/[^ \"']*pytest[^ \"']*", "-", json.dumps(outcome)))  # type: ignore[no-any-return]  # JSON


def test_cinder_registers_the_drivers_that_we_know_of() -> None:
    assert len(registered()) == 103
    assert "cinder.volume.drivers.lvm.LVMVolumeDriver" in registered()


def test_every_driver_can_be_imported_and_lists_its_options(outcomes: dict[str, dict[str, Any]]) -> None:
    broken = {path: said for path, said in outcomes["ours"].items() if not said or said[0][0] != "options"}
    assert broken == {}


def test_every_driver_does_the_same_with_and_without_the_stand_ins(outcomes: dict[str, dict[str, Any]]) -> None:
    differences = {
        path: (said, outcomes["stock"][path])
        for path, said in outcomes["ours"].items()
        if plain(said) != plain(outcomes["stock"][path])
    }
    assert differences == {}
