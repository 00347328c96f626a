"""The administration socket of a process that serves."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import admin
from csi_cinderlib.commands import running
from csi_cinderlib.config.settings import Settings
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Calls, Start, until

NOTHING = "tests.support.fakes.nothing.NothingDriver"
QUICK = f"quick: {{driver: {NOTHING}}}"
AWAY = f"away: {{driver: {NOTHING}, options: {{nothing_fail: [check_for_setup_error]}}}}"


def config(*back_ends: str) -> str:
    return "backends:\n" + "".join(f"  {one}\n" for one in back_ends)


def ask(
    driver: DriverProcess, method: str, path: str, body: dict[str, Any] | None = None, *, patience: float = 60.0
) -> dict[str, Any]:
    return running.request(Settings(state_dir=driver.state_dir), method, path, body, patience=patience)


def status(driver: DriverProcess) -> dict[str, Any]:
    return ask(driver, "GET", "/status")


def ready(start: Start, *back_ends: str, mode: str = "controller") -> DriverProcess:
    driver = start("--mode", mode, config=config(*back_ends))
    driver.wait_until_ready()
    return driver


@pytest.mark.parametrize("mode", ["controller", "node", "all"])
def test_every_mode_tells_its_status_from_a_socket_of_its_owner_alone(start: Start, mode: str) -> None:
    driver = ready(start, QUICK, mode=mode)
    path = driver.state_dir / admin.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = status(driver)
    assert (told["mode"], told["pid"], told["ready"], told["reasons"]) == (mode, driver.pid, True, [])
    assert told["state"] == "ready"
    assert ("backends" in told, "node" in told) == (mode != "node", mode != "controller")
    assert driver.stop() == 0
    assert not path.exists()


def test_the_status_tells_of_each_back_end_and_of_its_restarts(start: Start) -> None:
    driver = ready(start, QUICK, AWAY)
    until(lambda: bool(status(driver)["backends"][1]["last_error"]), driver)
    quick, away = status(driver)["backends"]
    assert (quick["name"], quick["state"], quick["restarts"]) == ("quick", "ready", 0)
    assert (away["name"], away["state"]) == ("away", "not ready")
    assert "the array says no" in away["last_error"]
    assert ask(driver, "POST", "/backends/quick/restart") == {"restarted": "quick", "ended": quick["pid"]}
    assert ask(driver, "POST", "/backends/away/restart") == {"restarted": "away", "ended": 0}
    until(lambda: [each["restarts"] for each in status(driver)["backends"] if each["state"] == "ready"] == [1], driver)
    with pytest.raises(running.NotAccepted, match=r"back end 'quik' does not exist; did you mean 'quick'\?"):
        ask(driver, "POST", "/backends/quik/restart")


def test_it_answers_while_the_process_is_not_ready(start: Start) -> None:
    driver = start("--mode", "controller", config=config(AWAY))
    until(lambda: _answers(driver), driver)
    until(lambda: status(driver)["state"] == "serving", driver)
    assert "no back end is usable: away: " in status(driver)["reasons"][0]


def test_a_process_that_does_not_run_or_hangs_is_told_apart(start: Start) -> None:
    driver = ready(start, QUICK)
    os.kill(driver.pid, signal.SIGSTOP)
    try:
        with pytest.raises(running.Silent, match=f"process {driver.pid} .* did not respond within 1 s"):
            ask(driver, "GET", "/status", patience=1)
    finally:
        os.kill(driver.pid, signal.SIGCONT)
    driver.kill()
    assert (driver.state_dir / admin.FILE).exists()
    with pytest.raises(running.NotRunning, match="no driver is running"):
        status(driver)


def test_the_socket_of_a_killed_process_is_replaced_and_that_of_a_living_one_is_not(start: Start) -> None:
    killed = ready(start, QUICK)
    killed.kill()
    driver = ready(start, QUICK)
    assert status(driver)["pid"] == driver.pid
    second = start("--mode", "controller", config=config(QUICK))
    assert second.wait(120) == 2
    assert status(driver)["pid"] == driver.pid
    assert driver.stop() == 0


def test_silent_clients_and_bad_requests_hold_up_neither_calls_nor_others(start: Start) -> None:
    driver = ready(start, QUICK)
    silent = [_connected(driver.state_dir) for _ in range(admin.MOST_CONNECTIONS)]
    assert Calls(driver).create("while-clients-are-silent")
    until(lambda: _answers(driver), driver)
    for client in silent:  # until the last of them was given up, there may be no place for another one
        client.settimeout(60)
        assert client.recv(1) == b""
        client.close()
    for wrong in (
        b"\r\n",
        b"GET\r\n\r\n",
        b"\0" * 70_000,
        b"PUT /loglevel HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
    ):
        with _connected(driver.state_dir) as client:
            client.sendall(wrong)
    for path, body in (("/loglevel", {"level": "loud"}), ("/loglevel", {"level": "debug", "for_seconds": -1})):
        with pytest.raises(running.NotAccepted):
            ask(driver, "PUT", path, body)
    with pytest.raises(running.NotAccepted, match="path '/nothing' is not served"):
        ask(driver, "GET", "/nothing")
    with pytest.raises(running.NotAccepted, match="supported: GET, PUT"):
        ask(driver, "POST", "/loglevel")
    assert status(driver)["state"] == "ready"


def _connected(directory: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with admin.address(directory) as where:
        client.connect(where)
    return client


def _answers(driver: DriverProcess) -> bool:
    try:
        return bool(status(driver))
    except (running.NotRunning, running.Silent):
        return False


def test_a_state_directory_with_a_long_path_has_its_socket(start: Start, tmp_path: Path) -> None:
    driver = start("--mode", "node", "--endpoint", str(tmp_path / "csi.sock"), name="d" * 120)
    until(lambda: _answers(driver), driver)
    assert (driver.state_dir / admin.FILE).exists()
    until(lambda: status(driver)["ready"], driver)
