"""The power of a whole machine is cut while it serves: what was answered, and what was synced, is there after the next boot."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.guest.bed import guest as guests
from tests.guest.bed import kernel as kernels

pytestmark = pytest.mark.guest


@pytest.mark.timeout(700)
def test_everything_acknowledged_survives_a_power_cut(tmp_path: Path) -> None:
    try:
        guests.default_kernel()
    except kernels.Unavailable as reason:
        pytest.skip(f"no guest: {reason}")
    disk, share = tmp_path / "disk", tmp_path / "share"
    disk.touch()
    os.truncate(disk, 4 << 30)
    share.mkdir()
    acked = share / "acked"
    acked.touch()
    output = bytearray()

    def command(phase: str) -> list[str]:
        return [sys.executable, "-m", "tests.guest.inside.power_cut", phase, str(acked)]

    with guests.Guest(command("work"), disks=[disk], shares=[share], timeout=300, output=output.extend) as guest:
        guest.wait_for(lambda: acked.read_text().count("\n") >= 40)
        guest.kill()
    with guests.Guest(command("look"), disks=[disk], shares=[share], timeout=300, output=output.extend) as guest:
        assert guest.wait() == 0, output.decode()
    assert b"acknowledged, all there" in output
