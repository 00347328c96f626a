"""What a running process does when its log level is changed, and when it gets a signal."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import cli
from csi_cinderlib.app.signals import NUMBERS
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Start, until, whole_log
from tests.support.processes import children, drivers, is_running

CANARY = "tr0ub4dor-and-3"
NOTHING = "tests.support.fakes.nothing.NothingDriver"
QUICK = f"quick: {{driver: {NOTHING}, options: {{nothing_password: {CANARY}}}}}"


def ready(start: Start, mode: str = "controller", *arguments: str, config: str = "") -> DriverProcess:
    driver = start("--mode", mode, *arguments, config=f"backends:\n  {QUICK}\n{config}")
    driver.wait_until_ready()
    return driver


def events(driver: DriverProcess, event: str) -> list[dict[str, Any]]:
    whole_lines = (
        whole_log(driver).rpartition("\n")[0].splitlines()
    )  # the last one may be in the middle of being written
    lines = [line for line in whole_lines if line.startswith("{")]
    return [found for line in lines if (found := json.loads(line))["event"] == event]


def loglevel(driver: DriverProcess, *words: str) -> int:
    return cli.main(["loglevel", *words, "--state-dir", str(driver.state_dir), "-o", "json"])


def sessions(driver: DriverProcess) -> int:
    """How often the driver logged, at the level info and from its own process, that it logged in."""
    return whole_log(driver).count("logging in as admin with ***")


def quiet(start: Start, tmp_path: Path) -> DriverProcess:
    """Its driver tells again and again of its session, at a level below the configured one."""
    options = (
        f"{{nothing_array_file: {tmp_path / 'array'}, nothing_traits: [keeps-session], nothing_password: {CANARY}}}"
    )
    back_end = f"array: {{driver: tests.support.fakes.array_driver.ArrayDriver, options: {options}}}"
    driver = start("--mode", "controller", config=f"backends:\n  {back_end}\nlog: {{level: error}}\n")
    driver.wait_until_ready()
    return driver


def test_drivers_follow_the_log_level_which_returns_by_itself(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = quiet(start, tmp_path)
    assert loglevel(driver) == 0
    assert json.loads(capsys.readouterr().out) == [{"level": "error", "configured": "error", "until": ""}]
    assert sessions(driver) == 0
    assert loglevel(driver, "info") == 0
    until(lambda: sessions(driver) > 0, driver)
    capsys.readouterr()
    assert loglevel(driver, "info", "--for", "1s") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["level"], bool(told["until"])) == ("info", True)
    until(lambda: [each["to"] for each in events(driver, "log level changed")] == ["info", "error"], driver)
    assert loglevel(driver) == 0
    assert json.loads(capsys.readouterr().out)[0]["level"] == "error"


def test_a_driver_that_starts_later_has_the_level_of_its_controller(start: Start, tmp_path: Path) -> None:
    driver = quiet(start, tmp_path)
    assert loglevel(driver, "info") == 0
    until(lambda: sessions(driver) > 0, driver)
    before = drivers(driver.pid)["array"]
    os.kill(before, signal.SIGKILL)
    until(lambda: drivers(driver.pid).get("array") not in (None, before), driver)
    until(lambda: "Session 1: logging in" in whole_log(driver).rpartition("driver process ended")[2], driver)
    assert loglevel(driver, "configured") == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["debgu"], "unsupported log level 'debgu'; did you mean 'debug'?"),
        (["debug", "--for", "soon"], "--for: must be a time such as 90s, 10m or 2h (got 'soon')"),
        (["debug", "--for", "0"], "--for: must be between 1s and 7d (got 0)"),
        (["--for", "1m"], "--for: requires a level"),
        (["debug", "--for", "999d"], "--for: must be between 1s and 7d (got 999d)"),
    ],
)
def test_a_wrong_level_or_time_is_refused(
    start: Start, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    driver = ready(start, "node")
    assert loglevel(driver, *words) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["controller", "node"])
def test_no_signal_that_asks_for_something_ends_a_process(start: Start, mode: str) -> None:
    driver = ready(start, mode)
    family = [driver.pid, *children(driver.pid), *drivers(driver.pid).values()]
    for pid in family:
        for number in NUMBERS:
            os.kill(pid, number)
    stacks = 2 if mode == "controller" else 1
    until(lambda: len(events(driver, "thread stacks")) >= stacks, driver)
    until(lambda: bool(events(driver, "configuration reloaded")), driver)
    until(lambda: bool(events(driver, "signal ignored")), driver)
    assert all(map(is_running, family))
    assert "admin" in str(events(driver, "thread stack"))
    assert CANARY not in whole_log(driver)
    assert driver.stop() == 0


def test_a_signal_while_it_starts_or_stops_does_not_end_it_otherwise(start: Start) -> None:
    driver = start("--mode", "controller", config=f"backends:\n  {QUICK}\n")
    until((driver.state_dir / "lock").exists, driver)
    for _ in range(50):
        for number in NUMBERS:
            os.kill(driver.pid, number)
    for pid in children(driver.pid):
        os.kill(pid, signal.SIGHUP)
    driver.wait_until_ready()
    driver.terminate()
    for number in NUMBERS:
        os.kill(driver.pid, number)
    assert driver.wait(60) == 0


def test_sighup_takes_over_the_log_level_and_names_what_needs_a_restart(start: Start) -> None:
    driver = ready(start)
    file = driver.state_dir / "config.yaml"
    good = file.read_text()
    file.write_text("backends: [unfinished")
    os.kill(driver.pid, signal.SIGHUP)
    until(lambda: bool(events(driver, "configuration reload failed")), driver)
    file.write_text(good + "log: {level: error}\nworkers: 77\n")
    os.kill(driver.pid, signal.SIGHUP)
    until(lambda: bool(events(driver, "log level changed")), driver)
    assert not events(driver, "configuration reloaded"), "the first was not, and of the second errors alone are logged"
    file.write_text(f"backends:\n  {QUICK}\nworkers: 77\n")
    os.kill(driver.pid, signal.SIGHUP)
    until(lambda: bool(events(driver, "restart needed for changed settings")), driver)
    assert events(driver, "restart needed for changed settings")[0]["settings"] == ["workers"]


def test_a_configuration_that_cannot_be_read_is_not_reported_as_read(start: Start) -> None:
    driver = ready(start)
    file = driver.state_dir / "config.yaml"
    before = file.read_text()
    file.write_text("backends: [unfinished")
    os.kill(driver.pid, signal.SIGHUP)
    until(lambda: bool(events(driver, "configuration reload failed")), driver)
    file.write_text(before + "log: {level: debug}\n")
    os.kill(driver.pid, signal.SIGHUP)
    until(lambda: bool(events(driver, "log level changed")), driver)
    until(lambda: bool(events(driver, "configuration reloaded")), driver)
    log = whole_log(driver)
    assert log.index('"log level changed"') < log.index('"configuration reloaded"')


def test_sighup_has_the_directory_of_back_ends_read_at_once(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "backends"
    directory.mkdir()
    driver = start("--mode", "controller", config=f"backends_directory: {directory}\n")
    driver.wait_until_ready()
    (directory / "late.yaml").write_text(f"late: {{driver: {NOTHING}}}\n")
    os.kill(driver.pid, signal.SIGHUP)
    until(lambda: "late" in drivers(driver.pid), driver)
