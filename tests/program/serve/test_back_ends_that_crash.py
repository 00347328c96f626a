"""What a driver does to the process that it runs in, and what the process does to a driver's call."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.app.serve import STOP_SECONDS
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.persistence.plugins import open_store
from tests.program.serve.conftest import BLOCK, Calls, Start, until
from tests.program.serve.replicas import logged_at
from tests.support.fakes.array import Array

CONFIG = """
backends:
  array:
    driver: tests.support.fakes.array_driver.ArrayDriver
    options: {{nothing_array_file: {file}, nothing_traits: [assigned-ids], nothing_faults: ["{fault}"]}}
  quick: {{driver: tests.support.fakes.nothing.NothingDriver}}
"""


Serve = Callable[[str], DriverProcess]


@pytest.fixture
def array_file(tmp_path: Path) -> Path:
    return tmp_path / "array.log"


@pytest.fixture
def serve(start: Start, array_file: Path) -> Serve:
    """Serve a back end "quick", and one "array" with that fault."""

    def ready(fault: str) -> DriverProcess:
        driver = start("--mode", "controller", config=CONFIG.format(file=array_file, fault=fault))
        driver.wait_until_ready()
        return driver

    return ready


@pytest.mark.parametrize("how", ["segfault", "exit"])
def test_a_driver_that_crashes_costs_its_own_back_end_only(serve: Serve, how: str) -> None:
    calls = Calls(serve(f"create_volume={how}"))
    with pytest.raises(grpc.RpcError):
        calls.create("a", backend="array")
    assert calls.create("b", backend="quick")


def test_a_process_that_is_asked_to_end_waits_for_the_running_calls(serve: Serve, array_file: Path) -> None:
    """The array has created the volume, and its answer with the id is still to come."""
    driver, array = serve("create_volume@after=slow"), Array(array_file)
    request = csi_pb2.CreateVolumeRequest(name="a", volume_capabilities=[BLOCK], parameters={"backend": "array"})
    call = Calls(driver).stub.CreateVolume.future(request)
    until(lambda: bool(array.luns()), driver)
    call.cancel()
    assert driver.stop() == 0
    with contextlib.closing(open_store("sql", {}, state_dir=driver.state_dir)) as store:
        recorded = [volume.provider.location for volume in store.page(Volume).records]
    assert recorded == [lun.id for lun in array.luns()]


def test_a_call_that_never_ends_delays_the_end_by_25_seconds(serve: Serve, array_file: Path) -> None:
    """Kubernetes kills after 30."""
    driver, array = serve("create_volume@after=hang"), Array(array_file)
    request = csi_pb2.CreateVolumeRequest(name="a", volume_capabilities=[BLOCK], parameters={"backend": "array"})
    call = Calls(driver).stub.CreateVolume.future(request)
    until(lambda: bool(array.luns()), driver)
    call.cancel()
    began = time.monotonic()
    driver.stop()
    assert time.monotonic() - began > STOP_SECONDS - 1
    given_up = logged_at(driver, "calls abandoned at shutdown")
    assert (given_up - logged_at(driver, "stopping")).total_seconds() < 29
    with contextlib.closing(open_store("sql", {}, state_dir=driver.state_dir)) as store:
        (volume,) = store.page(Volume).records
        assert volume.status in (Status.CREATING, Status.ERROR), "as far as it came before the end"
