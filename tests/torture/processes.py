"""The driver's processes, started again whenever they end, as an orchestrator does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.errors import PreconditionFailed
from tests.torture.truth import Finding, Truth

READY_SECONDS = 180.0


class Keeper:
    """One process of the driver. Thread-safe.

    Args:
        directory: for its socket and log, which no disturbance reaches.
        state_dir: its own, which disturbances reach.
        configure: called before each start; writes the configuration, and returns its path.
    """

    def __init__(
        self, mode: str, directory: Path, state_dir: Path, configure: Callable[[], Path], truth: Truth
    ) -> None:
        self.mode = mode
        self.directory = directory
        self._state_dir = state_dir
        self._configure = configure
        self._truth = truth
        self._guard = threading.RLock()
        self._is_over = threading.Event()
        self._ended: list[DriverProcess] = []
        """Their channels stay open: gRPC crashes when one is closed while another thread begins a call on it."""
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of the {mode}")
        self._thread.start()

    @property
    def channel(self) -> grpc.Channel:
        return self._process.channel

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        with self._guard:
            self._process.kill()

    def wait_until_ready(self) -> None:
        """Raises Finding when it does not become ready."""
        deadline = time.monotonic() + READY_SECONDS
        problem = ""
        while time.monotonic() < deadline:
            process = self._process
            try:
                process.wait_until_ready()
                return
            except PreconditionFailed as error:
                problem = str(error)
                time.sleep(0.1)
        raise Finding(f"the {self.mode} does not become ready: {problem}")

    def stop(self) -> int:
        """Ask it to end; its exit code. No call may be under way. May be called again."""
        self._is_over.set()
        self._thread.join()
        for process in self._ended:
            process.stop()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        return self._process.stop()

    def _start(self) -> DriverProcess:
        arguments = ["--state-dir", str(self._state_dir), "--mode", self.mode, "--config", str(self._configure())]
        return DriverProcess(self.directory, arguments)

    def _keep(self) -> None:
        while not self._is_over.wait(0.02):
            with self._guard, contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(0)
                self._truth.tell(f"the {self.mode} ended with code {code}", f"{self.mode} restarts")
                self._ended.append(self._process)
                self._is_over.wait(0.1)
                self._process = self._start()
