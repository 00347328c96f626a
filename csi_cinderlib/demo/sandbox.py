"""A place where the demo may do as it likes: an own mount namespace, a temporary directory, and a driver process in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.errors import HostError, PreconditionFailed
from csi_cinderlib.host import kernel, loopctl

CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000
MNT_DETACH = 2
START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The directory and the socket of the driver that runs in it."""

    root: Path
    driver: subprocess.Popen[bytes]
    channel: grpc.Channel

    @property
    def socket(self) -> Path:
        return self.root / "csi.sock"

    def log(self) -> str:
        """The end of what the driver wrote."""
        return (self.root / "driver.log").read_text(errors="replace")[-4000:]

    def wait_until_ready(self) -> tuple[float, float]:
        """Seconds from now until it answered at all, and until it was ready.

        Raises:
            PreconditionFailed: the driver ended, or was not ready in time.
        """
        identity = csi_pb2_grpc.IdentityStub(self.channel)
        started, answered = time.monotonic(), 0.0
        while (passed := time.monotonic() - started) < START_SECONDS:
            if self.driver.poll() is not None:
                raise PreconditionFailed(f"the driver ended with code {self.driver.returncode}:\n{self.log()}")
            try:
                ready = identity.Probe(csi_pb2.ProbeRequest(), timeout=1, wait_for_ready=True).ready
            except grpc.RpcError:
                continue
            answered = answered or passed
            if ready.value:
                return answered, passed
            time.sleep(0.005)
        raise PreconditionFailed(f"the driver was not ready within {START_SECONDS:.0f} s:\n{self.log()}")

    def stop(self) -> int:
        """Ask the driver to end, and return its exit code; kill it if it does not."""
        self.driver.send_signal(signal.SIGTERM)
        try:
            return self.driver.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            return self.driver.wait()

    def leftovers(self) -> list[str]:
        """Mounts and loop devices of this sandbox that still stand."""
        return [f"mount {path}" for path in _mounts(self.root)] + [f"/dev/loop{number}" for number in _loops(self.root)]


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Enter a private mount namespace, start the driver, and remove every trace afterwards.

    Raises:
        HostError: not root.
    """
    if os.geteuid() != 0:
        raise HostError("the demo mounts file systems on loop devices: run it as root")
    with kernel.named("an own mount namespace"):
        kernel.call("unshare", CLONE_NEWNS)
        kernel.call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)
    root = Path(tempfile.mkdtemp(prefix="csi-cinderlib-demo-"))
    box = None
    try:
        box = Sandbox(root, _start(root), grpc.insecure_channel(f"unix:{root}/csi.sock", _IMPATIENT))
        yield box
    finally:
        _undisturbed()
        if box is not None:
            box.channel.close()
            box.stop()
        _sweep(root)


_IMPATIENT = [
    ("grpc.initial_reconnect_backoff_ms", 10),
    ("grpc.max_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 10),
]


def _start(root: Path) -> subprocess.Popen[bytes]:
    """The same program in its own session, so that Ctrl-C reaches the demo alone."""
    argv = [
        sys.executable,
        "-m",
        "csi_cinderlib",
        "serve",
        "--mode",
        "all",
        "--state-dir",
        str(root),
        "--endpoint",
        f"{root}/csi.sock",
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CSI_", "CINDERLIB_"))}
    with (root / "driver.log").open("wb") as log:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )


def _undisturbed() -> None:
    """A second Ctrl-C must not interrupt the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _sweep(root: Path) -> None:
    """Whatever the driver left, from the top down: mounts, loop devices, files."""
    for path in _mounts(root):
        kernel.call("umount2", os.fsencode(path), MNT_DETACH)
    for number in _loops(root):
        with kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
            loopctl.clear(fd)
    shutil.rmtree(root)


def _mounts(root: Path) -> list[str]:
    """The mount points below `root`, the last mounted first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{root}/")]


def _loops(root: Path) -> list[int]:
    return [number for number in loopctl.attached_numbers() if loopctl.backing_path(number).startswith(f"{root}/")]
