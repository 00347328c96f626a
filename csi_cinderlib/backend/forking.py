"""Driver processes, forked from a warm process that has imported Cinder: each takes 0.02 s and 10 MB instead of 1 s and 70 MB.

The standard library's fork server is not suitable. It listens on a path below /tmp, which is left behind when the process is
killed or calls `os._exit`, and which does not exist in a container with a read-only root. It also starts another process of 7 MB.
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from multiprocessing.connection import Pipe, wait
from typing import Any

from csi_cinderlib.errors import HostError

WARM = "import sys; sys.path[:] = sys.argv[2:]; from csi_cinderlib.cinder.warm import main; main(int(sys.argv[1]))"
ASKING = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that may be sent to the whole process group. The warm process starts with them blocked until it ignores them."""
BIRTH_SECONDS = 120.0
"""The warm process must import Cinder and fork within this time, even on a busy machine."""
LEAVE_SECONDS = 1.0
"""The warm process must end all driver processes and itself within this time."""
PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2
"""linux/pidfd.h."""
STATUS = struct.Struct("i")
"""The warm process writes the pid of each process, and later its wait(2) status."""


class _Warm:
    """The warm process. Started on demand, and again after it has ended. It always ends with this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket
        self._failing_since: float | None = None

    def start(self) -> None:
        with self._guard:
            self._ensure()

    def fork(self, *files: int) -> None:
        """Fork a process that receives these files."""
        with self._guard:
            self._ensure()
            try:
                socket.send_fds(self._control, [b"!"], files)
            except OSError:  # it has just ended; the reader of the status notices
                return

    def note(self, *, forked: bool) -> None:
        """Record whether a requested process was forked."""
        if forked:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()

    def failing_for(self) -> float:
        """The seconds for which every fork has failed; 0 if the last one succeeded. Takes no lock."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since

    def abandon(self) -> None:
        """End it, with the processes that it forked and their programs. Takes no lock, since this process is ending as well."""
        if (process := self._process) is not None:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            try:
                process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:  # the kernel then ends the forked processes
                process.kill()
                for forked in tuple(_living):
                    forked.end_group()

    def stop(self) -> None:
        """As `abandon`, and wait for its end."""
        with self._guard:
            if self._process is not None:
                self.abandon()
                self._process.wait()
                self._control.close()
                self._process = None

    def _ensure(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-c", WARM, str(theirs.fileno()), *sys.path]
            with ExitStack() as undo:
                undo.callback(ours.close)
                self._process = _started(argv, theirs.fileno())
                undo.pop_all()
        self._control = ours


def _started(argv: list[str], control: int) -> subprocess.Popen[bytes]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[control])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_warm = _Warm()
_living: set[Process] = set()
"""Processes that are not known to have ended."""
warm_up, cool_down, abandon, failing_for = _warm.start, _warm.stop, _warm.abandon, _warm.failing_for


class Process:
    """A process with its connection, a socket that passes further connections, and its output.

    Args:
        target: `module:function`, by name because only the new process may import it. It is called with the connection, the socket,
            the pid of this process, and `arguments`.
        name: shown by `ps`.
        shared: a file to pass on; its descriptor number in the new process is passed before `arguments`.
    """

    def __init__(self, target: str, *arguments: Any, name: str, shared: int) -> None:
        try:
            with ExitStack() as undo:
                with ExitStack() as theirs:
                    self._open(undo, theirs, shared)
                self._send(target, name, arguments)
                self.pid, self._pidfd = self._born()
                undo.pop_all()
        except OSError as error:
            _warm.note(forked=False)
            raise HostError(f"cannot start the process {name}: {error}") from error
        _warm.note(forked=bool(self.pid))
        self._ended = threading.Event()
        self._code: int | None = None
        _living.add(self)
        threading.Thread(target=self._watch, name=f"{name}-status", daemon=True).start()

    def _open(self, ours: ExitStack, theirs: ExitStack, shared: int) -> None:
        self.connection, connection = Pipe()
        ours.enter_context(self.connection)
        theirs.enter_context(connection)
        output, printed = os.pipe()
        self.output = ours.enter_context(os.fdopen(output, "r", encoding="utf-8", errors="replace"))
        theirs.callback(os.close, printed)
        status, written = os.pipe()
        self._status = ours.enter_context(os.fdopen(status, "rb", buffering=0))
        theirs.callback(os.close, written)
        self.doorbell, doorbell = socket.socketpair()
        ours.enter_context(self.doorbell)
        theirs.enter_context(doorbell)
        self._end_of_line = ours.enter_context(socket.socket(fileno=os.dup(self.connection.fileno())))
        _warm.fork(connection.fileno(), printed, written, shared, doorbell.fileno())

    def _send(self, *assignment: Any) -> None:
        with suppress(OSError):  # it is ending
            self.connection.send_bytes(pickle.dumps((*assignment, os.getpid())))

    def _born(self) -> tuple[int, int]:
        """Its pid and pidfd; (0, -1) if it was not forked."""
        if not wait([self._status.fileno()], BIRTH_SECONDS):
            raise OSError(errno.ETIMEDOUT, f"not forked within {BIRTH_SECONDS:.0f} s")
        data = self._status.read(STATUS.size)
        if not data:
            return 0, -1
        (pid,) = STATUS.unpack(data)
        try:
            return pid, os.pidfd_open(pid)
        except ProcessLookupError:  # it has already ended
            return pid, -1

    def _watch(self) -> None:
        with self._status:
            data = self._status.read(STATUS.size)
        if data:
            self._code = os.waitstatus_to_exitcode(*STATUS.unpack(data))
        elif self._pidfd >= 0:  # the warm process has ended: the kernel ends this process, but not its programs
            self.end_group()
            wait([self._pidfd])
        _living.discard(self)
        self._ended.set()
        with self._end_of_line, suppress(OSError):  # programs left behind by the driver may hold the other end
            self._end_of_line.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill the process. Idempotent."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def end_group(self) -> None:
        """Kill it and its programs, even if it has ended; programs of another user (sudo) only if permitted."""
        if self._pidfd < 0:
            return
        with suppress(ProcessLookupError, PermissionError):
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL, None, PIDFD_SIGNAL_PROCESS_GROUP)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                os.killpg(self.pid, signal.SIGKILL)  # before Linux 6.9; pids are reused much later

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end. False on timeout."""
        return self._ended.wait(seconds)

    @property
    def end(self) -> str:
        """How it ended, as a clause."""
        if not self.pid:
            return "could not be started"
        if not self._ended.is_set():
            return "is still running"
        if self._code is None:
            return "ended with its parent process"
        if self._code < 0:
            return f"was killed by {signal.Signals(-self._code).name}"
        return f"exited with code {self._code}"

    @property
    def was_killed(self) -> bool:
        """Whether it ended by SIGKILL, or with its parent process."""
        return bool(self.pid) and self._ended.is_set() and self._code in (None, -signal.SIGKILL)

    def __del__(self) -> None:
        if getattr(self, "_pidfd", -1) >= 0:
            os.close(self._pidfd)
