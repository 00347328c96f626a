"""`check` tries every back end and says what each can do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GOOD = "good: {driver: csi_cinderlib.drivers.loopfile.LoopFileDriver, options: {loopfile_directories: [one:%s]}}"
WRONG = "wrong: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_grup: x}}"
AWAY = "away: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_group: not-there}}"


def check(tmp_path: Path, *backends: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "config.yaml"
    config.write_text("backends:\n" + "".join(f"  {backend}\n" for backend in backends))
    words = ["check", "--config", str(config), "--state-dir", str(tmp_path / "state")]
    return subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_a_good_one_is_described_with_its_pools(tmp_path: Path) -> None:
    outcome = check(tmp_path, GOOD % (tmp_path / "volumes"))
    assert outcome.returncode == 0, outcome.stdout
    assert "good: csi_cinderlib.drivers.loopfile.LoopFileDriver" in outcome.stdout
    assert "pool one: " in outcome.stdout and "GiB free of" in outcome.stdout
    assert not (tmp_path / "state").exists()


def test_a_wrong_option_is_exit_code_2_and_the_others_are_tried(tmp_path: Path) -> None:
    outcome = check(tmp_path, WRONG, GOOD % (tmp_path / "volumes"))
    assert outcome.returncode == 2
    assert "backends.wrong.options.volume_grup: is not an option of this driver" in outcome.stdout
    assert "pool one: " in outcome.stdout


def test_a_back_end_that_does_not_answer_is_named(tmp_path: Path) -> None:
    outcome = check(tmp_path, AWAY)
    assert outcome.returncode in (1, 2)
    assert "away: " in outcome.stdout and "FAILED: " in outcome.stdout
