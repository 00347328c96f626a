"""The socket: ours only, nobody else's is taken away, and a place that cannot be used is named."""

from __future__ import annotations

import socket
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_cinderlib.csi.identity import Identity
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Server
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import ConfigurationError
from tests.component.csi.harness import Serve, connected
from tests.support import disks


def make_server(endpoint: object) -> Server:
    readiness = Readiness()
    identity = Identity(name="n", version="1", readiness=readiness, services=())
    return Server(str(endpoint), identity=identity, readiness=readiness)


def test_the_socket_is_for_its_owner_only(serve: Serve, socket_path: Path) -> None:
    serve()
    assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(socket_path.stat().st_mode)


def test_a_stale_socket_is_replaced(serve: Serve, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    assert socket_path.exists()
    assert serve().client.identity.Probe(csi_pb2.ProbeRequest()).ready.value


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_anything_but_a_socket_is_left_alone(socket_path: Path, kind: str) -> None:
    if kind == "directory":
        socket_path.mkdir()
    elif kind == "file":
        socket_path.write_text("precious")
    else:
        (socket_path.parent / "target").write_text("precious")
        socket_path.symlink_to("target")
    with pytest.raises(ConfigurationError, match="exists and is not a socket"):
        make_server(socket_path).start()
    assert socket_path.is_dir() if kind == "directory" else socket_path.read_text() == "precious"


def test_a_second_server_on_a_live_socket_is_refused_and_the_first_goes_on(serve: Serve, socket_path: Path) -> None:
    running = serve()
    with pytest.raises(ConfigurationError, match="another process is listening"):
        make_server(socket_path).start()
    assert running.client.identity.Probe(csi_pb2.ProbeRequest()).ready.value


def test_of_two_servers_that_start_at_once_one_wins_and_serves(socket_path: Path) -> None:
    servers = [make_server(socket_path) for _ in range(4)]
    barrier, won = threading.Barrier(4), []

    def start(server: Server) -> None:
        barrier.wait(60)
        try:
            server.start()
            won.append(server)
        except ConfigurationError as error:
            assert "another process is listening" in str(error)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, servers))
    assert len(won) == 1
    with connected(socket_path) as client:
        assert client.identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=60).name == "n"
    won[0].stop(0.1)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"endpoint: cannot open the directory .*missing"):
        make_server(tmp_path.parent / "missing/csi.sock").start()


@pytest.mark.root
def test_a_socket_that_a_full_disk_cannot_take_is_named(tmp_path: Path) -> None:
    with disks.mounted(tmp_path / "d", 1, "tmpfs") as disk:
        disk.use_all_inodes()
        with pytest.raises(
            ConfigurationError, match=r"endpoint: cannot create the socket .*csi\.sock: No space left on device"
        ):
            make_server(disk.path / "csi.sock").start()


@pytest.mark.root
@pytest.mark.parametrize("was", ["there", "not there"])
def test_a_socket_on_a_read_only_disk_is_named(tmp_path: Path, was: str) -> None:
    with disks.mounted(tmp_path / "d", 1, "tmpfs") as disk:
        if was == "there":
            with socket.socket(socket.AF_UNIX) as old:
                old.bind(str(disk.path / "csi.sock"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        with pytest.raises(
            ConfigurationError, match=r"cannot (create the|remove the old) socket .*csi\.sock: Read-only file system"
        ):
            make_server(disk.path / "csi.sock").start()


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:9000", "http://x/y", "", "unix://", "unix:///var/lib/", "/" + "x" * 120]
)
def test_an_endpoint_that_cannot_be_served_is_a_configuration_error(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="endpoint: "):
        make_server(endpoint)


@pytest.mark.parametrize("form", ["unix://{}", "unix:{}", "{}"])
def test_the_usual_forms_of_an_endpoint_are_understood(form: str, socket_path: Path) -> None:
    assert make_server(form.format(socket_path)).path == socket_path
