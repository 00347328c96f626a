"""The bed itself: what the tests stand on must hold."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from csi_cinderlib.host import loopctl
from tests.cluster.bed import images
from tests.cluster.bed.apiserver import ApiServer, DidNotStart
from tests.cluster.bed.node import CannotStart, Cluster
from tests.support import absence, loops
from tests.support.ports import free_port
from tests.support.repeating import until

pytestmark = pytest.mark.cluster


@pytest.fixture
def server(tmp_path: Path) -> ApiServer:
    return ApiServer(tmp_path / "api", durable=False)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def running_in(folder: Path) -> list[str]:
    """The processes that name this folder: a zombie names nothing, and has ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if str(folder).encode() in command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def test_an_api_server_starts_gives_service_account_tokens_enforces_rbac_and_leaves_no_process(
    server: ApiServer,
) -> None:
    server.start()
    pids = server.pids
    try:
        assert len(pids) == len(running_in(server.folder)) == 2
        token = server.service_account_token("storage", "controller")
        assert server.kubectl("auth", "can-i", "list", "secrets", "-A").strip() == "yes"
        with pytest.raises(RuntimeError, match="forbidden"):
            server.kubectl("get", "secrets", "-A", token=token)
    finally:
        server.stop()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert running_in(server.folder) == []


def test_an_api_server_whose_port_is_taken_meanwhile_chooses_others(server: ApiServer, taken: int) -> None:
    ports = iter([free_port(), free_port(), taken, free_port(), free_port(), free_port()])
    server.ports = ports.__next__
    server.start()
    try:
        assert str(taken) not in server.url
        assert server.kubectl("get", "--raw", "/readyz") == "ok"
        url = server.url
        server.stop()
        server.start()
        assert server.url == url, "its clients know it by that"
    finally:
        server.stop()


def test_an_etcd_that_ends_is_noticed_at_once_and_nothing_is_left(server: ApiServer, taken: int) -> None:
    server.ports = itertools.cycle([taken, free_port(), free_port()]).__next__
    started = time.monotonic()
    with pytest.raises(DidNotStart, match="etcd has ended"):
        server.start()
    assert time.monotonic() - started < 90, "half of what the API server is given"
    assert running_in(server.folder) == []


class Interrupted(ApiServer):
    def start_server(self) -> None:
        """As by Ctrl-C while etcd runs already."""
        deadline = time.monotonic() + 60
        while not running_in(self.folder):  # a process has no command line for a moment, while it executes its program
            assert time.monotonic() < deadline, "etcd does not run"
        raise KeyboardInterrupt


def test_an_api_server_that_is_interrupted_at_its_start_leaves_no_process(server: ApiServer) -> None:
    interrupted = Interrupted(server.folder, durable=False)
    with pytest.raises(KeyboardInterrupt):
        interrupted.start()
    assert interrupted.pids == []
    assert running_in(server.folder) == []


def test_a_second_cluster_on_this_machine_is_refused_with_the_place_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        cluster = Cluster(tmp_path / "second", patience=0)
    except CannotStart as problem:
        absence.skip(problem)
    monkeypatch.setenv("CINDERLIB_CACHE", str(tmp_path))
    with (tmp_path / "cluster.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.write("/somewhere/first")
        first.flush()
        with pytest.raises(CannotStart, match="another cluster runs on this machine, in /somewhere/first"):
            cluster.start()
        cluster.stop()


@pytest.mark.root
def test_the_loop_devices_of_a_folder_are_those_on_its_file_systems_too(tmp_path: Path) -> None:
    """A cluster's volumes lie on such a one, under a path that only its own mount namespace knows."""
    image, mount = tmp_path / "image", tmp_path / "elsewhere"
    mount.mkdir()
    image.write_bytes(bytes(8 * 1024**2))
    with ExitStack() as undo:
        run("mkfs.ext4", "-q", str(image))
        run("mount", "-o", "loop", str(image), str(mount))
        undo.callback(run, "umount", str(mount))
        (mount / "volume").write_bytes(bytes(1024**2))
        device = run("losetup", "--find", "--show", str(mount / "volume"))
        undo.callback(detach, device)
        inner, outer = loops.below(str(image))
        assert device == f"/dev/loop{inner}"
        assert loopctl.backing_path(outer) == str(image)
    until(lambda: loops.below(str(image)) == {})


def detach(device: str) -> None:
    """The kernel keeps it for as long as somebody has it open: udev, say, which looks at each device that changes."""
    number = int(device.removeprefix("/dev/loop"))
    file = loopctl.backing_path(number)
    run("losetup", "--detach", device)
    until(lambda: loopctl.attached().get(number) != file)


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_the_tests_of_the_cluster_fail_where_it_cannot_be_had() -> None:
    """`make cluster-test` on a machine without the tools must not look as if all were well."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cluster/driver/test_volumes.py"]
    environment = {**os.environ, "CINDERLIB_CLUSTER_TEST": "1", "PATH": "/nowhere"}
    environment.pop("CINDERLIB_CLUSTER", None)
    done = subprocess.run(
        [*command, "-k", "raw_block"], env=environment, cwd=images.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    assert "Debian packages are missing" in done.stdout
