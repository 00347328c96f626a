"""/healthz of a controller: bad when only a restart helps, good whatever its arrays do."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

from csi_cinderlib import cli
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Calls, Start, until, whole_log
from tests.support.ports import free_port
from tests.support.processes import children, drivers

AWAY = "away: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_fail: [check_for_setup_error]}}"
QUICK = "quick: {driver: tests.support.fakes.nothing.NothingDriver}"


class Health:
    """What a kubelet sees."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def __call__(self, page: str = "healthz") -> tuple[int, str]:
        """Asked again where the machine was too busy to answer in time."""
        for _ in range(20):
            found = self._ask(page)
            if "DEADLINE_EXCEEDED" not in found[1]:
                break
        return found

    def _ask(self, page: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self._url}/{page}", timeout=60) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()


def begin(start: Start, *back_ends: str, environment: dict[str, str] | None = None) -> tuple[DriverProcess, Health]:
    port = free_port()
    config = f"health_address: 127.0.0.1:{port}\nbackends:\n" + "".join(f"  {one}\n" for one in back_ends)
    driver = start("--mode", "controller", config=config, environment=environment)
    driver.wait_until_ready()
    return driver, Health(port)


def warm_process(driver: DriverProcess) -> int:
    """The one that drivers' processes are forked from."""
    (pid,) = children(driver.pid)
    return pid


def test_health_is_bad_when_no_process_for_any_driver_can_be_started_any_more(start: Start, tmp_path: Path) -> None:
    """As with an installation that is damaged, or a container without a process left."""
    customize = tmp_path / "python" / "sitecustomize.py"
    customize.parent.mkdir()
    customize.write_text("")
    path = f"{customize.parent}:{os.environ.get('PYTHONPATH', '')}"
    driver, health = begin(start, AWAY, QUICK, environment={"PYTHONPATH": path})
    assert health() == (200, "ok")
    customize.write_text("import os\n\nos._exit(3)\n")
    os.kill(warm_process(driver), signal.SIGKILL)
    until(lambda: not drivers(driver.pid), driver)
    until(lambda: health() != (200, "ok"), driver, seconds=150)
    said = "no driver process could be started for 30 s, and no back end has a running process"
    assert (health(), health("readyz")) == ((503, said), (503, said))
    assert f'"reason": "{said}"' in whole_log(driver)
    customize.write_text("")
    state = ["--state-dir", str(driver.state_dir), "--config", str(driver.state_dir / "config.yaml")]
    assert cli.main(["backends", "restart", "quick", *state]) == 0
    until(lambda: health() == (200, "ok"), driver)
    assert driver.stop() == 0


def test_health_is_good_while_drivers_are_started_again_or_cannot_be(start: Start) -> None:
    driver, health = begin(start, AWAY, QUICK)
    before = drivers(driver.pid)["quick"]
    os.kill(warm_process(driver), signal.SIGKILL)
    until(lambda: drivers(driver.pid).get("quick") != before, driver)
    assert health() == (200, "ok")
    until(lambda: bool(drivers(driver.pid).get("quick")), driver)
    assert health() == (200, "ok")


def test_health_is_bad_when_the_socket_is_gone(start: Start) -> None:
    driver, health = begin(start, QUICK)
    driver.socket.unlink()
    until(lambda: health()[0] == 503, driver)


def directory_of(start: Start, tmp_path: Path, *back_ends: str) -> tuple[DriverProcess, Health, Path]:
    directory, port = tmp_path / "backends", free_port()
    directory.mkdir()
    for one in back_ends:
        (directory / f"{one.partition(':')[0]}.yaml").write_text(f"{one}\n")
    driver = start(
        "--mode", "controller", config=f"health_address: 127.0.0.1:{port}\nbackends_directory: {directory}\n"
    )
    return driver, Health(port), directory


def test_a_controller_without_a_usable_back_end_serves_and_is_ready_with_the_first_one(
    start: Start, tmp_path: Path
) -> None:
    broken = "broken: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_colour: blue}}"
    driver, health, directory = directory_of(start, tmp_path, AWAY, broken)
    until(lambda: "serving, but not ready" in whole_log(driver), driver)
    until(lambda: "the array says no" in health("readyz")[1], driver)
    code, said = health("readyz")
    assert code == 503
    assert said.startswith("no back end is usable: away: ")
    assert "broken: " in said
    assert (health()[0], '"event": "ready"' in whole_log(driver)) == (200, False)
    assert Calls(driver).volumes() == {}
    Calls(driver).unpublish("nobody-has-it", "node")
    (directory / "away.yaml").write_text("away: {driver: tests.support.fakes.nothing.NothingDriver}\n")
    driver.wait_until_ready()
    assert health("readyz") == (200, "ok")
    until(lambda: '"event": "ready"' in whole_log(driver), driver)
    (directory / "away.yaml").write_text(f"{AWAY}\n")
    until(lambda: "the array says no" in whole_log(driver).rpartition("added or changed")[2], driver)
    assert health("readyz") == (200, "ok")


def test_one_usable_back_end_is_enough_to_be_ready(start: Start) -> None:
    driver, health = begin(start, AWAY, QUICK)
    assert health("readyz") == (200, "ok")
    volume = Calls(driver).create("a", backend="quick")
    Calls(driver).delete(volume)
