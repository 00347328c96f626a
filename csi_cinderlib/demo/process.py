"""Runs a driver in a separate process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.errors import PreconditionFailed

START_SECONDS = 180.0
STOP_SECONDS = 60.0
_EAGER = [(f"grpc.{which}_reconnect_backoff_ms", value) for which, value in (("initial", 5), ("min", 5), ("max", 20))]


class DriverProcess:
    """`csi-cinderlib serve` on a state directory.

    Args:
        state_dir: state directory, with the socket `csi.sock` and the log `driver.log`.
        arguments: further arguments of its command line.
        environment: further variables; the caller's variables for this program are not inherited.
    """

    def __init__(
        self, state_dir: Path, arguments: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> None:
        self.state_dir = state_dir
        self.socket = state_dir / "csi.sock"
        argv = [
            sys.executable,
            "-m",
            "csi_cinderlib",
            "serve",
            "--state-dir",
            str(state_dir),
            "--endpoint",
            str(self.socket),
            *arguments,
        ]
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("CSI_", "CINDERLIB_")) or key == "CINDERLIB_TEST_SESSION"
        }
        self.started = time.monotonic()
        with (state_dir / "driver.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**inherited, **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches only the caller, which then stops this process
            )
        self.channel = grpc.insecure_channel(f"unix:{self.socket}", _EAGER)

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """The end of its log."""
        return (self.state_dir / "driver.log").read_text(errors="replace")[-6000:]

    def wait_until_ready(self) -> tuple[float, float]:
        """Wait; returns the seconds from its start until its first answer, and until it was ready.

        Raises:
            PreconditionFailed: it ended, or was not ready in time. The message has the end of its log.
        """
        identity, answered = csi_pb2_grpc.IdentityStub(self.channel), 0.0
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            if self._process.poll() is not None:
                raise PreconditionFailed(f"the driver ended with code {self._process.returncode}:\n{self.log()}")
            try:
                ready = identity.Probe(csi_pb2.ProbeRequest(), timeout=1, wait_for_ready=True).ready
            except grpc.RpcError:
                continue
            passed = time.monotonic() - self.started
            answered = answered or passed
            if ready.value:
                return answered, passed
            time.sleep(0.005)
        raise PreconditionFailed(f"the driver was not ready within {START_SECONDS:.0f} s:\n{self.log()}")

    def stop(self) -> int:
        """Terminate it, or kill it after STOP_SECONDS; returns its exit code. Idempotent."""
        self.channel.close()
        self.terminate()
        try:
            return self.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()

    def terminate(self) -> None:
        """Send SIGTERM if it is running."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait for its end; returns its exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def kill(self) -> int:
        """Send SIGKILL; returns its exit code."""
        self._process.kill()
        return self._process.wait()
