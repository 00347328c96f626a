"""The main module of a driver process: serves the controller's calls for one back end until the controller ends."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

from csi_cinderlib import faultpoints
from csi_cinderlib.backend import existing, secret_values
from csi_cinderlib.backend.assignment import Assignment
from csi_cinderlib.backend.channels import Serving
from csi_cinderlib.backend.frames import plain
from csi_cinderlib.backend.remote_store import RemoteStore
from csi_cinderlib.backend.stats import BackendStats, Candidate, Rating
from csi_cinderlib.backend.verbs import Report, Started
from csi_cinderlib.backend.wire import Peer
from csi_cinderlib.cinder.cinder_driver import CinderDriver
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.errors import BackendUnavailable, HostError, LeaseLost
from csi_cinderlib.host.deadline import Deadline, KillTimer, now
from csi_cinderlib.observe import logs, redact, stacks
from csi_cinderlib.observe.unmeasured import Meter, Unmeasured

THREADS = 1024
"""More than the controller's maximum; threads start on demand."""
LATE_SECONDS = 2.0
"""Seconds after the deadline. The controller ends this process at the deadline, unless it is itself stopped."""
STOPPED_SECONDS = 3.0
"""Seconds after the deadline at which the kernel ends this process if it is stopped. The next controller starts a second later."""
LOOK_SECONDS = 1.0
"""The longest interval between checks of the deadline. Native code that holds the interpreter's lock delays the next check, and
the kernel ends the process at the deadline of the last check: such a call always has at least 8 s."""
TURN_SECONDS = 5.0
"""Seconds to wait for the previous process, which has just been killed."""
VERBS = (
    "name_of",
    "find_file",
    "misses_file",
    "create_volume",
    "delete_volume",
    "extend_volume",
    "size_of_volume",
    "revert_volume",
    "retype_volume",
    "create_snapshot",
    "delete_snapshot",
    "create_group",
    "update_group",
    "create_group_snapshot",
    "delete_group_snapshot",
    "delete_group",
    "validate_connector",
    "export_again",
    "create_export",
    "initialize_connection",
    "terminate_connection",
    "remove_export",
)
"""Methods of `verbs.Driver` that are served unchanged."""


def serve(
    connection: Connection, doorbell: socket.socket, controller: int, deadline: int, assignment: Assignment
) -> None:
    """Serve a back end. Never returns; ends with the controller.

    Args:
        controller: its pid.
        deadline: the file of `host.deadline.Deadline`, until which the controller may act.
    """
    faultpoints.join_controller(controller, is_first=assignment.is_first)
    logs.configure(format=assignment.log.format, level=assignment.log.level, relayed=True)
    redact.hide_in_process([*secret_values.of(assignment.settings), *redact.secrets_in(assignment.cinder_defaults)])
    _Service(connection, doorbell, Deadline(deadline), assignment).run()


class _Service:
    def __init__(
        self, connection: Connection, doorbell: socket.socket, deadline: Deadline, assignment: Assignment
    ) -> None:
        self._deadline = deadline
        self._turn = _Turn(assignment.state_dir, assignment.settings.name)
        handlers: dict[str, Any] = {
            "start": self._start,
            "check_options": self._check_options,
            "report": self._report,
            "rate": self._rate,
            "leave": self._leave,
            "log_level": logs.set_level,
            "log_stacks": stacks.log,
            "stacks": stacks.collect,
        }
        self._peer = Peer(connection, handlers, name="call", threads=THREADS, within=_within, gone=_end)
        self._serving = Serving(doorbell, handlers, self._peer, within=_within, gone=_end)
        self._driver = CinderDriver(
            assignment.settings,
            store=RemoteStore(self._serving, assignment.traits),
            runtime=Runtime(assignment.state_dir, defaults=assignment.cinder_defaults),
            check_lease=self._check_lease,
            meter=_Meter(self._serving) if assignment.measured else Unmeasured(),
        )
        handlers.update((name, getattr(self._driver, name)) for name in VERBS)
        handlers.update((name, getattr(self._driver.existing, name)) for name in existing.VERBS)

    def _check_lease(self) -> None:
        if now() >= self._deadline.until:
            raise LeaseLost("this controller does not hold the lease of the active controller")

    def run(self) -> None:
        """Serve until the deadline: a call with many steps must not continue while the next controller is active."""
        signal.signal(signal.SIGUSR1, _log_stacks)
        self._peer.start()
        self._serving.start()
        timer = KillTimer()
        while (left := self._deadline.until + LATE_SECONDS - now()) > 0:
            timer.set(self._deadline.until + STOPPED_SECONDS)
            time.sleep(min(left, LOOK_SECONDS))
        os._exit(1)  # without logging: a stopped controller reads no log, and a full pipe would block

    def _start(self) -> Started:
        self._turn.take()
        started = self._driver.start()
        assert started is not None, "start() must be called only once"
        return replace(started, report=_plain(started.report))

    def _check_options(self) -> None:
        """Runs in parallel with the process that serves the back end. Storage that does not respond does not make the options invalid."""
        with suppress(BackendUnavailable):
            self._driver.check_options()

    def _leave(self) -> None:
        self._driver.leave_exports()
        self._turn.leave()

    def _report(self) -> Report:
        return _plain(self._driver.report())

    def _rate(self, stats: BackendStats, candidate: Candidate) -> Mapping[str, Rating]:
        return self._driver.rate(stats, candidate, patience=0)


class _Turn:
    """A lock file that ensures that a back end's driver runs in one process at a time. After a controller was killed, its driver
    may survive in a system call that does not end.

    The lock belongs to the process, and is not inherited by programs that the driver starts.
    """

    def __init__(self, state_dir: Path, back_end: str) -> None:
        self._back_end = back_end
        self._path = state_dir / "cinder" / "processes" / quote(back_end, safe="")
        self._file = -1

    def take(self) -> None:
        """Take the lock. Idempotent.

        Raises:
            BackendUnavailable: another process holds it.
            HostError: the file cannot be created.
        """
        if self._file >= 0:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"cannot open the lock file {self._path}: {error.strerror}") from error
        try:
            self._lock(file)
        except BaseException:
            os.close(file)
            raise
        self._file = file
        with suppress(OSError):  # on a full disk, the next process's message has no pid
            os.pwrite(file, f"{os.getpid():<31}\n".encode(), 0)

    def _lock(self, file: int) -> None:
        deadline = time.monotonic() + TURN_SECONDS
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):  # fcntl(2) allows either
                if time.monotonic() > deadline:
                    holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
                    why = f"the previous driver process ({holder}) has not ended yet"
                    raise BackendUnavailable(self._back_end, why) from None
                time.sleep(0.05)
            else:
                return

    def leave(self) -> None:
        """Release the lock for the next process; this one only finishes its calls."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _plain(report: Report) -> Report:
    """The report with plain data that can be sent."""
    return Report(raw=plain(report.raw), ratio=plain(report.ratio))


class _Meter(Meter):
    """Sends the measurements to the controller."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    @contextmanager
    def backend_call(self, backend: str, operation: str) -> Iterator[None]:
        began, result = time.perf_counter(), "error"
        try:
            yield
            result = "ok"
        finally:
            self._serving.tell("measured", backend, operation, result, time.perf_counter() - began)


@contextmanager
def _within(context: tuple[str, tuple[str, ...]]) -> Iterator[None]:
    """Apply the request id and hidden secrets of the calling thread in the controller to the log."""
    request, hidden = context
    with logs.request(request), redact.hiding(hidden):
        yield


def _log_stacks(_number: int, _frame: FrameType | None) -> None:
    """Uses another thread, since this one may hold the log's lock."""
    threading.Thread(target=stacks.log, name="stacks", daemon=True).start()


def _end() -> None:
    """Called when the controller has ended or has closed the connection."""
    os._exit(0)
