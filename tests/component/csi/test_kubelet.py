"""Registration with the kubelet, and health over HTTP."""

from __future__ import annotations

import io
import json
import logging
import stat
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi import kubelet
from csi_cinderlib.csi.identity import Identity
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Server
from csi_cinderlib.csi.v1 import pluginregistration_pb2 as registration_pb2
from csi_cinderlib.csi.v1 import pluginregistration_pb2_grpc as registration_grpc
from csi_cinderlib.errors import ConfigurationError
from csi_cinderlib.observe import logs
from tests.support.ports import free_port


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reg-") as path:
        yield Path(path)


@pytest.fixture
def registration(directory: Path) -> Iterator[registration_grpc.RegistrationStub]:
    server = kubelet.registration_server(
        directory, name="csi.x.io", socket=Path("/var/lib/kubelet/plugins/csi.x.io/csi.sock")
    )
    server.start()
    with grpc.insecure_channel(f"unix:{server.path}") as channel:
        yield registration_grpc.RegistrationStub(channel)
    server.stop(0.1)


def test_the_kubelet_learns_the_drivers_name_and_socket(
    registration: registration_grpc.RegistrationStub, directory: Path
) -> None:
    info = registration.GetInfo(registration_pb2.InfoRequest(), timeout=60)
    assert (info.type, info.name) == ("CSIPlugin", "csi.x.io")
    assert info.endpoint == "/var/lib/kubelet/plugins/csi.x.io/csi.sock"
    assert list(info.supported_versions) == ["1.0.0"]
    assert stat.S_ISSOCK((directory / "csi.x.io-reg.sock").stat().st_mode)


def test_the_kubelets_verdict_is_logged(registration: registration_grpc.RegistrationStub) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(format="json", stream=stream)
    try:
        registration.NotifyRegistrationStatus(registration_pb2.RegistrationStatus(plugin_registered=True), timeout=60)
        registration.NotifyRegistrationStatus(registration_pb2.RegistrationStatus(error="no such node"), timeout=60)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["reason"] for line in lines if line["level"] == "error"] == ["no such node"]
    assert any(line["event"] == "registered with the kubelet" for line in lines)


def test_the_registration_socket_goes_with_its_server(directory: Path) -> None:
    server = kubelet.registration_server(directory, name="csi.x.io", socket=Path("/x"))
    server.start()
    assert server.path.exists()
    server.stop(0.1)
    assert list(directory.iterdir()) == []


def test_a_missing_registry_directory_is_named(directory: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot open the directory .*plugins_registry"):
        kubelet.registration_server(directory / "plugins_registry", name="n", socket=Path("/x")).start()


def get(port: int, path: str) -> tuple[int, str]:
    """Asked again by the probes of a machine that was too busy to answer in time."""
    for _ in range(20):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            code, said = error.code, error.read().decode()
        if "DEADLINE_EXCEEDED" not in said:
            break
    return code, said


def test_health_asks_over_the_socket_and_tells_alive_from_ready(directory: Path) -> None:
    port = free_port()
    readiness, trouble = Readiness(), ""
    readiness.watch(lambda: trouble)
    path = directory / "csi.sock"
    server = Server(
        str(path), identity=Identity(name="n", version="1", readiness=readiness, services=()), readiness=readiness
    )
    server.start()
    stop = kubelet.serve_health(f"127.0.0.1:{port}", path, readiness)
    try:
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/readyz") == (503, "this process is still starting\n")
        readiness.standby("standby: another holds the lease")
        assert (get(port, "/healthz"), get(port, "/readyz")) == ((200, "ok\n"), (200, "ok\n"))
        readiness.failed("the store is away: password='tr0ub4dor'")
        assert get(port, "/readyz") == (503, "the store is away: password=***\n")
        readiness.ready()
        assert get(port, "/readyz") == (200, "ok\n")
        trouble = "all is lost"
        assert (get(port, "/healthz"), get(port, "/readyz")) == ((503, "all is lost\n"), (503, "all is lost\n"))
        trouble = ""
        assert get(port, "/healthz") == (200, "ok\n")
        server.stop(0.1)
        assert get(port, "/healthz")[0] == 503
    finally:
        stop()
        server.stop(0)


def test_a_check_that_has_a_bug_does_not_make_probe_an_error() -> None:
    def broken() -> str:
        raise AttributeError("not yet")

    readiness = Readiness()
    readiness.watch(broken)
    readiness.restrain(broken)
    assert list(readiness.reasons) == ["this process is still starting"]
    readiness.ready()
    assert list(readiness.reasons) == []
    readiness.restrain(lambda: "no back end is usable")
    assert list(readiness.reasons) == ["no back end is usable"]
