"""The figures of a process, and how they are fetched."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe.metrics import FIGURES, Metrics
from csi_cinderlib.observe.web import parse_address, serve
from tests.support.ports import free_port


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3", mode="all", driver_name="d")


def lines(metrics: Metrics) -> list[str]:
    return metrics.exposition().decode().splitlines()


def test_calls_are_counted_by_method_and_code(metrics: Metrics) -> None:
    metrics.rpc("CreateVolume", "OK", 0.02)
    metrics.rpc("CreateVolume", "OK", 3.0)
    shown = lines(metrics)
    assert 'csi_cinderlib_rpc_seconds_count{code="OK",method="CreateVolume"} 2.0' in shown
    assert 'csi_cinderlib_rpc_seconds_bucket{code="OK",le="0.025",method="CreateVolume"} 1.0' in shown


def test_calls_into_drivers_are_timed_with_their_result(metrics: Metrics) -> None:
    with metrics.backend_call("array", "create_volume"):
        pass
    with pytest.raises(ValueError, match="broken"), metrics.backend_call("array", "create_volume"):
        raise ValueError("broken")
    shown = lines(metrics)
    for result in ("ok", "error"):
        assert (
            f'csi_cinderlib_backend_call_seconds_count{{backend="array",operation="create_volume",result="{result}"}} 1.0'
            in shown
        )


def test_gauges_show_what_was_set_last(metrics: Metrics) -> None:
    metrics.pools("array", {"p1": {"total": 10.0, "free": 4.0}})
    metrics.volumes("array", "available", 7)
    metrics.orphans("array", 1)
    metrics.backend_ready("array", True)
    with metrics.running():
        shown = lines(metrics)
    assert 'csi_cinderlib_pool_bytes{backend="array",kind="free",pool="p1"} 4.0' in shown
    assert 'csi_cinderlib_volumes{backend="array",status="available"} 7.0' in shown
    assert 'csi_cinderlib_orphans{backend="array"} 1.0' in shown
    assert 'csi_cinderlib_backend_ready{backend="array"} 1.0' in shown
    assert "csi_cinderlib_rpcs_in_flight 1.0" in shown
    assert 'csi_cinderlib_build_info{driver_name="d",mode="all",version="1.2.3"} 1.0' in shown


def test_restarts_are_counted_from_0_on_as_long_as_the_back_end_is_configured(metrics: Metrics) -> None:
    metrics.backend_ready("array", True)
    metrics.pools("array", {})
    crashed = 'csi_cinderlib_backend_restarts_total{backend="array",reason="crashed"}'
    assert f"{crashed} 0.0" in lines(metrics)
    metrics.backend_restarted("array", "crashed")
    metrics.backend_ready("array", False)
    assert f"{crashed} 1.0" in lines(metrics)
    metrics.forget_backend("array")
    assert not [line for line in lines(metrics) if "restarts_total{" in line]


def test_a_pool_that_is_not_reported_any_more_is_not_shown_any_more(metrics: Metrics) -> None:
    metrics.pools("array", {"p1": {"total": 10.0, "free": 4.0}, "p2": {"total": 5.0}})
    metrics.pools("array", {"p1": {"total": 11.0}})
    shown = [line for line in lines(metrics) if line.startswith("csi_cinderlib_pool_bytes{")]
    assert shown == ['csi_cinderlib_pool_bytes{backend="array",kind="total",pool="p1"} 11.0']
    metrics.pools("array", {})
    assert not [line for line in lines(metrics) if line.startswith("csi_cinderlib_pool_bytes{")]


def test_two_processes_figures_can_live_in_one_program(metrics: Metrics) -> None:
    other = Metrics(version="2", mode="node", driver_name="e")
    other.rpc("Probe", "OK", 0.1)
    assert "Probe" not in metrics.exposition().decode()


def test_figures_are_served_over_http_until_stopped(metrics: Metrics) -> None:
    metrics.rpc("Probe", "OK", 0.1)
    port = free_port()
    stop = metrics.serve(f"127.0.0.1:{port}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert b'method="Probe"' in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/else", timeout=60)
        with pytest.raises(ConfigurationError, match="metrics_address: cannot listen on"):
            metrics.serve(f"127.0.0.1:{port}")
    finally:
        stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60)


@pytest.mark.parametrize("address", ["", "host", "host:", "host:http", ":70000", "8080"])
def test_an_address_that_is_none_is_named_with_its_setting(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"some_key: must be HOST:PORT"):
        parse_address("some_key", address)


def test_an_address_may_be_ipv6_or_leave_out_the_host() -> None:
    assert parse_address("k", "[::1]:80") == ("::1", 80)
    assert parse_address("k", ":80")[0] in ("::", "0.0.0.0")
    stop = serve("k", "[::1]:0", {})
    stop()


def test_the_alerts_of_the_documentation_ask_for_figures_and_labels_that_there_are() -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/monitor.md").read_text()
    (rules,) = (text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "kind: PrometheusRule" in text)
    expressions = [rule["expr"] for group in yaml.safe_load(rules)["spec"]["groups"] for rule in group["rules"]]
    assert len(expressions) >= 8
    labels = {figure.name: {*figure.labels, "le"} for figure in FIGURES}
    for expression in expressions:
        used = re.findall(r"(csi_cinderlib_\w+?)(?:_count|_bucket|_sum)?\b(?:\{(.*?)\})?", expression)
        assert used, expression
        for name, selected in used:
            assert set(re.findall(r"(\w+)=", selected)) <= labels[name], expression
            for grouped in re.findall(r"by \((.*?)\)", expression):
                assert set(grouped.split(", ")) <= labels[name], expression
