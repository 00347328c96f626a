"""`check` ends, whatever a back end does after its set-up, and leaves no process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.component.commands.test_check import HEEDING
from tests.support.processes import children, descendants, drivers
from tests.support.repeating import until

Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts it, with a back end whose driver has these faults."""
    begun: list[subprocess.Popen[str]] = []
    (tmp_path / "temporary").mkdir()

    def checking(*faults: str, seconds: float = 12) -> subprocess.Popen[str]:
        """So many seconds are for the set-up, and as many for each step after it."""
        config = tmp_path / "config.yaml"
        driver = "driver: tests.support.fakes.array_driver.ArrayDriver, stats_seconds: 0"
        config.write_text(
            "backends:\n"
            + "".join(f"  b{n}: {{{driver}, options: {{nothing_faults: [{f}]}}}}\n" for n, f in enumerate(faults))
        )
        words = ["check", "--config", str(config), "--state-dir", str(tmp_path / "state"), "--timeout", str(seconds)]
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", "csi_cinderlib", *words],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
            )
        )
        return begun[-1]

    yield checking
    for process in begun:
        process.kill()
        process.communicate()


def wait_until_gone(pids: Iterable[int]) -> None:
    began = time.monotonic()
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() - began < 60, left
        time.sleep(0.05)


def watched(checking: subprocess.Popen[str], is_there: Callable[[dict[int, str]], bool]) -> dict[int, str]:
    """Its processes, once those are there."""
    while not is_there(below := descendants(checking.pid)):
        assert checking.poll() is None
        time.sleep(0.05)
    return below


def test_reports_that_do_not_come_after_the_set_up_are_given_up_together(begin: Begin, tmp_path: Path) -> None:
    began = time.monotonic()
    checking = begin(*["'get_volume_stats:3=hang'"] * 4)
    written, _ = checking.communicate(timeout=100)
    assert time.monotonic() - began < 44, "one after the other, they take 48 seconds"
    assert checking.returncode == 1
    assert written.count("the driver did not report in time") == 4
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_a_driver_runs_after_its_set_up_has_ended_when_it_ends(begin: Begin) -> None:
    checking = begin("'get_volume_stats:3=run-a-program'")
    below = watched(checking, lambda below: "sleep" in below.values())
    checking.communicate(timeout=60)
    assert checking.returncode == 1
    wait_until_gone(below)


def test_check_ends_if_the_process_that_starts_drivers_hangs(begin: Begin) -> None:
    checking = begin("'get_volume_stats:3=run-a-program'")
    below = watched(checking, lambda below: "sleep" in below.values())
    (driver,) = drivers(checking.pid).values()
    warm = int(Path(f"/proc/{driver}/stat").read_text().rpartition(") ")[2].split()[1])
    os.kill(warm, signal.SIGSTOP)
    checking.communicate(timeout=60)
    assert checking.returncode == 1
    wait_until_gone(below)


def test_drivers_and_their_programs_end_when_it_is_killed(begin: Begin) -> None:
    """No program of ours can see to that: the kernel and the warm process do."""
    checking = begin("'get_volume_stats=run-a-program'", seconds=60)
    below = watched(checking, lambda below: "sleep" in below.values())
    checking.kill()
    wait_until_gone(below)


def test_ctrl_c_while_cinder_is_imported_prints_no_traceback(tmp_path: Path) -> None:
    """A terminal sends it to the whole group."""
    config = tmp_path / "config.yaml"
    config.write_text("backends: {a: {driver: tests.support.fakes.nothing.NothingDriver}}\n")
    words = ["check", "--config", str(config), "--state-dir", str(tmp_path / "state")]
    checking = subprocess.Popen(
        [sys.executable, "-c", HEEDING, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        until(lambda: any(map(minds_sigint, children(checking.pid))))
        os.killpg(checking.pid, signal.SIGINT)
        _, said = checking.communicate(timeout=120)
    finally:
        checking.kill()
    assert (checking.returncode, said) == (130, "")


def minds_sigint(pid: int) -> bool:
    """Python runs in the warm process, and has taken the signal."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        is_python = "csi_cinderlib.cinder.warm" in Path(f"/proc/{pid}/cmdline").read_text()
        return is_python and bool(int(status["SigCgt"], 16) >> signal.SIGINT - 1 & 1)
    return False
