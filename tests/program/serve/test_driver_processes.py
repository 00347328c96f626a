"""Each back end's driver runs in a process of its own: what it does there, and how that process ends, concerns nobody else."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_cinderlib import cli
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import BLOCK, Calls, Start, until, whole_log
from tests.support.fakes.array import Array
from tests.support.processes import descendants, drivers

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
QUICK = "quick: {driver: tests.support.fakes.nothing.NothingDriver}"
CANARY = "tr0ub4dor-and-3"


def array(file: Path, **options: str) -> str:
    given = "".join(f", nothing_{name}: {value}" for name, value in options.items())
    return f"array: {{driver: {ARRAY}, options: {{nothing_array_file: {file}{given}}}}}"


def config(*back_ends: str) -> str:
    return "backends:\n" + "".join(f"  {one}\n" for one in back_ends)


def ready(start: Start, *back_ends: str) -> DriverProcess:
    driver = start("--mode", "controller", config=config(*back_ends))
    driver.wait_until_ready()
    return driver


def pid_of(driver: DriverProcess, back_end: str) -> int:
    return drivers(driver.pid).get(back_end, 0)


def test_a_process_that_dies_is_started_again_and_the_call_it_died_in_goes_on(start: Start, tmp_path: Path) -> None:
    driver = ready(start, array(tmp_path / "log", faults='["create_volume:1@after=segfault"]'), QUICK)
    calls = Calls(driver)
    with pytest.raises(grpc.RpcError, match="driver process ended during the call") as failed:
        calls.create("a", backend="array")
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert calls.create("b", backend="quick")
    until(lambda: bool(pid_of(driver, "array")), driver)
    until(lambda: whole_log(driver).count("back end ready") >= 3, driver)
    with pytest.raises(grpc.RpcError):
        calls.create("a", backend="array")  # the fault is one of each process's first call
    assert "SIGSEGV" in whole_log(driver)


def test_what_a_driver_prints_and_logs_in_its_own_threads_is_logged_without_its_passwords(
    start: Start, tmp_path: Path
) -> None:
    traits = "[keeps-session, runs-program]"
    driver = ready(start, array(tmp_path / "log", traits=traits, password=CANARY), QUICK)
    until(lambda: "Session 2: logging in as admin with ***" in whole_log(driver), driver)
    log = whole_log(driver)
    assert "raidcmd: logging in as admin with ***" in log
    assert '"backend": "array"' in next(line for line in log.splitlines() if "raidcmd" in line)
    assert CANARY not in log


def test_drivers_processes_end_with_a_controller_that_is_killed(start: Start, tmp_path: Path) -> None:
    driver = ready(start, array(tmp_path / "log"), QUICK)
    below = descendants(driver.pid)
    assert {"csi:array", "csi:quick"} <= set(below.values())
    driver.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def test_a_driver_that_eats_the_memory_is_ended_before_the_controller(start: Start, tmp_path: Path) -> None:
    driver = ready(start, array(tmp_path / "log"))
    scores = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (driver.pid, pid_of(driver, "array"))]
    assert scores[0] < scores[1]


def test_a_driver_that_hangs_in_its_set_up_holds_up_no_other_back_end(start: Start, tmp_path: Path) -> None:
    driver = start(
        "--mode", "controller", config=config(array(tmp_path / "log", faults='["get_volume_stats=hang"]'), QUICK)
    )
    driver.wait_until_ready()
    assert Calls(driver).create("a", backend="quick")
    assert driver.stop() == 0


def test_an_administrator_restarts_a_back_end_that_hangs(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = ready(start, array(tmp_path / "log", faults='["create_volume@after=hang"]'), QUICK)
    request = csi_pb2.CreateVolumeRequest(name="a", volume_capabilities=[BLOCK], parameters={"backend": "array"})
    hanging = Calls(driver).stub.CreateVolume.future(request, timeout=240)
    before, quick = pid_of(driver, "array"), pid_of(driver, "quick")
    until(lambda: bool(Array(tmp_path / "log").luns()), driver)  # else the next process would hang in its call
    assert before > 0
    state = ["--state-dir", str(driver.state_dir), "--config", str(driver.state_dir / "config.yaml")]
    assert cli.main(["backends", "restart", "array", *state]) == 0
    assert f"process {before} ended" in capsys.readouterr().out
    with pytest.raises(grpc.RpcError) as failed:
        hanging.result()
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    until(lambda: pid_of(driver, "array") not in (0, before), driver)
    assert pid_of(driver, "quick") == quick
    assert cli.main(["backends", "restart", "nothing", *state]) == 2
    assert "back end 'nothing' does not exist" in capsys.readouterr().err
    driver.stop()
    assert cli.main(["backends", "restart", "array", *state]) == 2
    assert "no driver is running" in capsys.readouterr().err


def test_a_call_that_runs_when_options_change_ends_in_the_process_it_began_in(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "backends"
    directory.mkdir()
    file = directory / "array.yaml"
    file.write_text(array(tmp_path / "log", faults='["create_volume@after=slow"]') + "\n")
    driver = start("--mode", "controller", config=f"backends_directory: {directory}\n")
    driver.wait_until_ready()
    before = pid_of(driver, "array")
    with ThreadPoolExecutor(1) as pool:
        created = pool.submit(Calls(driver).create, "a", backend="array")
        until(lambda: bool(Array(tmp_path / "log").luns()), driver)
        file.write_text(array(tmp_path / "log", password="another") + "\n")
        assert created.result()
    until(lambda: pid_of(driver, "array") not in (0, before), driver)
    until(lambda: not Path(f"/proc/{before}").exists(), driver)
    until(lambda: whole_log(driver).count("back end ready") >= 2, driver)
    assert Calls(driver).create("b", backend="array")


def test_many_calls_to_a_slow_back_end_leave_room_for_another_one_and_for_deletions(
    start: Start, tmp_path: Path
) -> None:
    """200 claims at once; what is beyond the back end's share is refused at once, and tried again by the sidecar."""
    small = "quick: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_capacity_gb: '500'}}"
    driver = start(
        "--mode",
        "controller",
        config=config(array(tmp_path / "log", faults='["create_volume=hang"]'), small) + "workers: 64\n",
    )
    driver.wait_until_ready()
    calls = Calls(driver)
    kept = calls.create("kept", backend="quick")
    waiting = [
        calls.stub.CreateVolume.future(
            csi_pb2.CreateVolumeRequest(
                name=f"pvc-{number}", volume_capabilities=[BLOCK], parameters={"backend": "array"}
            ),
            timeout=240,
        )
        for number in range(200)
    ]
    until(lambda: sum(call.done() for call in waiting) > 100, driver)
    refused = [call for call in waiting if call.done()]
    assert {call.code() for call in refused} == {grpc.StatusCode.ABORTED}
    assert "is busy: " in refused[0].details()
    for number in range(20):
        calls.delete(calls.create(f"quick-{number}", backend="quick"))
    calls.delete(kept)
    calls.delete(calls.create("anywhere"))  # the slow one has more space
    for call in waiting:
        call.cancel()
    os.kill(pid_of(driver, "array"), signal.SIGKILL)  # else the end waits for them
