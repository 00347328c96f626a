"""What Prometheus gets from serving processes: every figure of the reference page, with its type, its labels and a true value."""

from __future__ import annotations

import os
import signal
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from csi_cinderlib import __version__
from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.observe.metrics import FIGURES
from tests.program.serve.conftest import Calls, Start, until
from tests.support.certificates import make_certificate
from tests.support.ports import free_port
from tests.support.processes import drivers

GIB = 1024**3
BACKENDS = """
backends:
  array: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_pools: [ssd], nothing_capacity_gb: "100"}}
  failing: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_fail: [create_volume]}}
  broken: {driver: tests.support.fakes.nothing.NothingDriver, options: {nothing_fail: [check_for_setup_error]}}
"""

Sample = tuple[str, frozenset[tuple[str, str]]]


class Scraped:
    """The figures of a process as a monitoring system sees them."""

    def __init__(self, driver: DriverProcess, port: int) -> None:
        self.driver = driver
        self._url = f"http://127.0.0.1:{port}/metrics"

    def families(self) -> list[Any]:
        with urllib.request.urlopen(self._url, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return list(text_string_to_metric_families(answer.read().decode()))

    def samples(self) -> dict[Sample, float]:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, frozenset(labels.items())))

    def shows(self, name: str, value: float, **labels: str) -> bool:
        return self.value(name, **labels) == value


def wait_for_figures(controller: Scraped) -> None:
    """Of a volume on `array`. All records are counted again after 30 seconds, or a hundred times what that took; and a look at the back
    ends waits for their answers for a moment only."""
    pool = {"backend": "array", "pool": "ssd"}

    def are_there() -> bool:
        return (
            controller.shows("csi_cinderlib_volumes", 1, backend="array", status="available")
            and controller.shows("csi_cinderlib_backend_ready", 1, backend="array")
            and controller.shows("csi_cinderlib_backend_ready", 1, backend="failing")
            and controller.value("csi_cinderlib_pool_bytes", kind="total", **pool) is not None
        )

    until(are_there, controller.driver, seconds=200)


@pytest.fixture
def controller(start: Start) -> Scraped:
    port = free_port()
    driver = start("--mode", "controller", name="controller", config=f"metrics_address: 127.0.0.1:{port}\n{BACKENDS}")
    driver.wait_until_ready()
    return Scraped(driver, port)


@pytest.fixture
def node(start: Start) -> Scraped:
    port = free_port()
    driver = start("--mode", "node", name="node", config=f"metrics_address: 127.0.0.1:{port}\n")
    driver.wait_until_ready()
    return Scraped(driver, port)


def test_calls_are_counted_and_timed_by_method_and_code(controller: Scraped) -> None:
    calls = Calls(controller.driver)
    for _ in range(3):
        calls.create("v", backend="array")
    with pytest.raises(grpc.RpcError):
        calls.create("w", backend="failing")
    with pytest.raises(grpc.RpcError):
        calls.create("x", backend="nowhere")
    rpc = "csi_cinderlib_rpc_seconds"
    assert controller.shows(f"{rpc}_count", 3, method="CreateVolume", code="OK")
    assert controller.shows(f"{rpc}_count", 1, method="CreateVolume", code="INVALID_ARGUMENT")
    assert controller.shows(f"{rpc}_bucket", 3, method="CreateVolume", code="OK", le="+Inf")
    spent = controller.value(f"{rpc}_sum", method="CreateVolume", code="OK")
    assert spent is not None
    assert 0 < spent < 60
    assert controller.shows("csi_cinderlib_rpcs_in_flight", 0)


def test_calls_into_drivers_are_counted_by_back_end_operation_and_result(controller: Scraped) -> None:
    calls = Calls(controller.driver)
    calls.delete(calls.create("v", backend="array"))
    with pytest.raises(grpc.RpcError):
        calls.create("w", backend="failing")
    name = "csi_cinderlib_backend_call_seconds_count"
    for operation in ("create_volume", "delete_volume"):
        assert controller.shows(name, 1, backend="array", operation=operation, result="ok"), operation
    assert controller.shows(name, 1, backend="failing", operation="create_volume", result="error")
    assert controller.value(name, backend="array", operation="get_volume_stats", result="ok")


def test_back_ends_pools_volumes_and_orphans_are_shown_soon_after_the_start(controller: Scraped) -> None:
    Calls(controller.driver).create("v", backend="array")
    wait_for_figures(controller)
    ready = {
        name: controller.value("csi_cinderlib_backend_ready", backend=name) for name in ("array", "failing", "broken")
    }
    assert ready == {"array": 1, "failing": 1, "broken": 0}
    pool = {"backend": "array", "pool": "ssd"}
    assert controller.shows("csi_cinderlib_pool_bytes", 100 * GIB, kind="total", **pool)
    until(
        lambda: controller.shows("csi_cinderlib_pool_bytes", 1 * GIB, kind="allocated", **pool),
        controller.driver,
        seconds=200,
    )
    assert controller.shows("csi_cinderlib_orphans", 0, backend="array")


def test_a_driver_that_is_started_again_is_counted_with_the_reason(controller: Scraped) -> None:
    name = "csi_cinderlib_backend_restarts_total"
    until(lambda: controller.shows(name, 0, backend="array", reason="killed"), controller.driver)
    os.kill(drivers(controller.driver.pid)["array"], signal.SIGKILL)
    until(lambda: controller.shows(name, 1, backend="array", reason="killed"), controller.driver)
    assert controller.shows(name, 0, backend="failing", reason="killed")


def test_a_node_shows_its_calls_and_what_it_is(node: Scraped) -> None:
    stub: Any = csi_pb2_grpc.NodeStub(node.driver.channel)
    stub.NodeGetInfo(csi_pb2.NodeGetInfoRequest())
    with pytest.raises(grpc.RpcError):
        stub.NodeStageVolume(csi_pb2.NodeStageVolumeRequest())
    assert node.shows("csi_cinderlib_rpc_seconds_count", 1, method="NodeGetInfo", code="OK")
    assert node.shows("csi_cinderlib_rpc_seconds_count", 1, method="NodeStageVolume", code="INVALID_ARGUMENT")
    what = {"version": __version__, "mode": "node", "driver_name": "csi.cinderlib.io"}
    assert node.shows("csi_cinderlib_build_info", 1, **what)
    assert node.value("process_resident_memory_bytes")


def test_every_figure_of_the_reference_page_is_scraped_as_it_says_and_no_other(
    controller: Scraped, node: Scraped
) -> None:
    Calls(controller.driver).create("v", backend="array")
    wait_for_figures(controller)
    for scraped, mode in ((controller, "controller"), (node, "node")):
        found = {family.name: family for family in scraped.families() if family.name.startswith("csi_cinderlib_")}
        for figure in FIGURES:
            family = found.pop(figure.name.removesuffix("_total"))
            assert family.type == {"info": "gauge"}.get(figure.kind, figure.kind), figure.name
            assert family.documentation == figure.meaning
            labels = {frozenset(sample.labels) - {"le"} for sample in family.samples if sample.labels}
            assert labels == ({frozenset(figure.labels)} if figure.labels and mode in figure.where else set()), (
                figure.name
            )
        assert {name for name in found if not name.endswith("_created")} == set()


def test_nothing_else_is_served_there(controller: Scraped) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(controller._url.replace("/metrics", "/"), timeout=60)


def test_with_a_certificate_and_a_token_only_who_has_it_is_answered_and_probes_need_none(
    start: Start, tmp_path: Path
) -> None:
    files, token = make_certificate(tmp_path, "tls"), tmp_path / "token"
    token.write_text("canary-token\n")
    port, health = free_port(), free_port()
    driver = start(
        "--mode",
        "node",
        name="node",
        config=f"""
metrics_address: 127.0.0.1:{port}
metrics_certificate_file: {files.certificate_file}
metrics_key_file: {files.key_file}
metrics_token_file: {token}
health_address: 127.0.0.1:{health}
""",
    )
    driver.wait_until_ready()
    trusted = ssl.create_default_context(cafile=files.certificate_file)
    page = urllib.request.Request(f"https://127.0.0.1:{port}/metrics")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(page, timeout=60, context=trusted)
    page.add_header("Authorization", "Bearer canary-token")
    with urllib.request.urlopen(page, timeout=60, context=trusted) as answer:
        assert b"csi_cinderlib_build_info" in answer.read()
    with urllib.request.urlopen(f"http://127.0.0.1:{health}/healthz", timeout=60) as answer:
        assert answer.read() == b"ok\n"
