"""The serving process as a whole: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.sealing import generate_key
from tests.program.serve.conftest import Start

BROKEN = "broken: {driver: cinder.volume.drivers.lvm.LVMVolumeDriver, options: {volume_grup: x}}"
LOCAL = "good: {driver: csi_cinderlib.drivers.loopfile.LoopFileDriver, options: {loopfile_directories: [%s]}}"


def serve(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "csi_cinderlib", "serve", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules(driver: DriverProcess) -> str:
    """The files that the process has mapped: compiled modules tell what was imported."""
    return Path(f"/proc/{driver.pid}/maps").read_text()


@pytest.fixture
def starting(start: Start, tmp_path: Path) -> Iterator[tuple[DriverProcess, Path]]:
    """A process that cannot get ready before something is written to that file."""
    keys = tmp_path / "keys"
    os.mkfifo(keys)
    yield start(config=f"sealing_keys_file: {keys}\n"), keys
    with suppress(OSError):  # nobody waits for them
        os.close(os.open(keys, os.O_WRONLY | os.O_NONBLOCK))


def test_it_answers_before_it_is_ready_and_says_so(starting: tuple[DriverProcess, Path]) -> None:
    driver, keys = starting
    identity = csi_pb2_grpc.IdentityStub(driver.channel)
    assert not identity.Probe(csi_pb2.ProbeRequest(), wait_for_ready=True, timeout=60).ready.value
    keys.write_text(f"[{{id: k, key: {generate_key()}}}]\n")
    driver.wait_until_ready()
    assert identity.Probe(csi_pb2.ProbeRequest(), timeout=60).ready.value


def test_storage_calls_get_unavailable_while_it_starts(starting: tuple[DriverProcess, Path]) -> None:
    driver, _ = starting
    controller = csi_pb2_grpc.ControllerStub(driver.channel)
    with pytest.raises(grpc.RpcError) as refused:
        controller.ListVolumes(csi_pb2.ListVolumesRequest(), wait_for_ready=True, timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "starting" in str(refused.value.details())


def test_sigterm_ends_it_with_0_and_without_its_socket(start: Start) -> None:
    driver = start()
    driver.wait_until_ready()
    assert driver.socket.stat().st_mode & 0o777 == 0o600
    assert driver.stop() == 0
    assert not driver.socket.exists()


def test_sigterm_ends_it_also_while_it_starts(start: Start) -> None:
    driver = start()
    while not driver.socket.exists():
        time.sleep(0.01)
    assert driver.stop() == 0
    assert not driver.socket.exists()


def test_calls_in_flight_are_finished_before_it_ends(start: Start) -> None:
    driver = start()
    driver.wait_until_ready()
    controller = csi_pb2_grpc.ControllerStub(driver.channel)
    capability = csi_pb2.VolumeCapability(
        block=csi_pb2.VolumeCapability.BlockVolume(),
        access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
    )
    calls = [
        controller.CreateVolume.future(
            csi_pb2.CreateVolumeRequest(name=f"volume-{number}", volume_capabilities=[capability])
        )
        for number in range(20)
    ]
    calls[0].result()
    ending = threading.Thread(target=driver.terminate)
    ending.start()
    codes = [call.code() for call in calls]
    ending.join()
    assert driver.stop() == 0
    # One that had reached the socket but no thread yet is turned away by gRPC itself, as UNAVAILABLE or CANCELLED.
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    store = open_store("sql", state_dir=driver.state_dir)
    statuses = [volume.status for volume in store.page(Volume).records]
    store.close()
    assert set(statuses) == {Status.AVAILABLE}
    assert len(statuses) >= codes.count(grpc.StatusCode.OK)


def test_a_second_process_on_the_state_directory_is_refused(start: Start, tmp_path: Path) -> None:
    driver = start()
    driver.wait_until_ready()
    outcome = serve("--state-dir", str(driver.state_dir), "--endpoint", str(tmp_path / "other.sock"))
    assert outcome.returncode == 2
    assert f"state_dir: {driver.state_dir} is in use by process {driver.pid}" in outcome.stderr


def test_a_second_process_on_the_same_sqlite_file_is_refused(start: Start, tmp_path: Path) -> None:
    driver = start()
    driver.wait_until_ready()
    config = tmp_path / "second.yaml"
    config.write_text(f"store: {{options: {{url: 'sqlite:///{driver.state_dir}/metadata.db'}}}}")
    outcome = serve("--state-dir", str(tmp_path / "second"), "--config", str(config))
    assert outcome.returncode == 2
    assert f"metadata.db is in use by another process (pid {driver.pid})" in outcome.stderr


def test_a_socket_path_that_is_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    outcome = serve("--state-dir", str(tmp_path / "state"), "--endpoint", str(tmp_path / "precious"))
    assert outcome.returncode == 2
    assert "precious exists and is not a socket" in outcome.stderr
    assert (tmp_path / "precious").read_text() == "data"


def test_a_stale_socket_is_replaced(start: Start, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "state" / "csi.sock"))
    start().wait_until_ready()


def test_a_read_only_state_directory_is_named(tmp_path: Path) -> None:
    outcome = serve("--state-dir", "/proc/none")
    assert outcome.returncode == 2
    assert "state_dir: cannot use the directory /proc/none" in outcome.stderr


def test_a_node_loads_neither_cinder_nor_a_database(start: Start) -> None:
    driver = start("--mode", "node")
    driver.wait_until_ready()
    mapped = modules(driver)
    assert "grpc" in mapped
    assert not [name for name in ("sqlalchemy", "_sqlite3", "lxml", "psycopg", "greenlet") if name in mapped]


def test_a_broken_back_end_degrades_alone(start: Start, tmp_path: Path) -> None:
    driver = start(config=f"backends:\n  {BROKEN}\n  {LOCAL % (tmp_path / 'volumes')}\n")
    driver.wait_until_ready()
    controller = csi_pb2_grpc.ControllerStub(driver.channel)
    capability = csi_pb2.VolumeCapability(
        block=csi_pb2.VolumeCapability.BlockVolume(),
        access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
    )
    request = csi_pb2.CreateVolumeRequest(name="a", volume_capabilities=[capability], parameters={"backend": "good"})
    assert controller.CreateVolume(request).volume.volume_id
    request = csi_pb2.CreateVolumeRequest(name="b", volume_capabilities=[capability], parameters={"backend": "broken"})
    with pytest.raises(grpc.RpcError, match="volume_grup"):
        controller.CreateVolume(request)


def test_back_ends_that_are_all_configured_wrongly_end_it_with_2(start: Start) -> None:
    driver = start(config=f"backends:\n  {BROKEN}\n")
    assert driver.wait(60) == 2
    assert "volume_grup: is not an option of this driver; did you mean volume_group" in driver.log()


def test_a_driver_that_does_not_exist_is_named(start: Start) -> None:
    driver = start(config="backends: {a: {driver: cinder.volume.drivers.lvm.LVMVolumeDrivr}}")
    assert driver.wait(60) == 2
    assert "backends.a.driver: there is no driver 'cinder.volume.drivers.lvm.LVMVolumeDrivr'" in driver.log()


def test_what_was_answered_survives_a_kill(start: Start) -> None:
    driver = start()
    driver.wait_until_ready()
    capability = csi_pb2.VolumeCapability(
        block=csi_pb2.VolumeCapability.BlockVolume(),
        access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
    )
    controller = csi_pb2_grpc.ControllerStub(driver.channel)
    made = controller.CreateVolume(csi_pb2.CreateVolumeRequest(name="a", volume_capabilities=[capability])).volume
    driver.kill()
    driver.stop()
    again = start()
    again.wait_until_ready()
    listed = csi_pb2_grpc.ControllerStub(again.channel).ListVolumes(csi_pb2.ListVolumesRequest()).entries
    assert [entry.volume.volume_id for entry in listed] == [made.volume_id]
