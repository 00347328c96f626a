"""Processes for drivers, forked from one warm process that has imported Cinder: 0.02 s and 10 MB for each instead of 1 s and 70 MB.

The standard library's fork server was tried first. It listens at a path below /tmp, which a process that is killed, or leaves by
`os._exit`, never removes, and which a container with a read-only root has not; and it starts one more process of 7 MB.
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
"""Signals to the main process that may reach its whole group. The warm process starts with these blocked until it can ignore them."""
BIRTH_SECONDS = 120.0
"""For the warm process to import Cinder and to fork, where the machine is busy."""
LEAVE_SECONDS = 1.0
"""For the warm process to end the others and itself."""
PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2
"""linux/pidfd.h."""
STATUS = struct.Struct("i")
"""What the warm process writes of each process: first its number, at its end the status that wait(2) tells."""


class _Warm:
    """The warm process. Started when it is needed, and again after its end. It ends when this process ends, however that comes about."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket
        self._failing_since: float | None = None

    def start(self) -> None:
        with self._guard:
            self._ensure()

    def fork(self, *files: int) -> None:
        """Have it fork a process that gets these files."""
        with self._guard:
            self._ensure()
            try:
                socket.send_fds(self._control, [b"!"], files)
            except OSError:  # it has ended just now: the reader of the status finds that out
                return

    def note(self, *, forked: bool) -> None:
        """Whether a process that was asked for came into being."""
        if forked:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()

    def failing_for(self) -> float:
        """For how many seconds every process that was asked for has failed to come into being; 0 when the last one did. Takes no lock."""
        since = self._failing_since
        return 0.0 if since is None else time.monotonic() - since

    def abandon(self) -> None:
        """End it, and with it all processes that it forked and the programs that these run. Takes no lock: this process ends, too."""
        if (process := self._process) is not None:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            try:
                process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:  # then the kernel ends the processes
                process.kill()
                for forked in tuple(_living):
                    forked.end_group()

    def stop(self) -> None:
        """The same, and wait until it has ended."""
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
"""Those whose ends are not known yet."""
warm_up, cool_down, abandon, failing_for = _warm.start, _warm.stop, _warm.abandon, _warm.failing_for


class Process:
    """A process and the ways to it: a connection, a socket that takes further ones there, and what it prints.

    Args:
        target: `module:function`, by name because only the new process may import it. It is called with the connection, that socket,
            the number of this process, and `arguments`.
        name: as `ps` shows it.
        shared: a file that it gets besides, whose number there is passed before `arguments`.
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
        with suppress(OSError):  # then its end is on its way
            self.connection.send_bytes(pickle.dumps((*assignment, os.getpid())))

    def _born(self) -> tuple[int, int]:
        """Its number, and a file that stands for it; (0, -1) when there is none."""
        if not wait([self._status.fileno()], BIRTH_SECONDS):
            raise OSError(errno.ETIMEDOUT, f"not forked within {BIRTH_SECONDS:.0f} seconds")
        data = self._status.read(STATUS.size)
        if not data:
            return 0, -1
        (pid,) = STATUS.unpack(data)
        try:
            return pid, os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            return pid, -1

    def _watch(self) -> None:
        with self._status:
            data = self._status.read(STATUS.size)
        if data:
            self._code = os.waitstatus_to_exitcode(*STATUS.unpack(data))
        elif self._pidfd >= 0:  # the warm process has ended, and the kernel ends this one, but not its programs
            self.end_group()
            wait([self._pidfd])
        _living.discard(self)
        self._ended.set()
        with self._end_of_line, suppress(OSError):  # programs that the driver left behind may hold the other end
            self._end_of_line.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End it at once. Ended already is fine."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def end_group(self) -> None:
        """End it and the programs that it runs, also when it has ended already; those of another user (sudo) as far as this process may."""
        if self._pidfd < 0:
            return
        with suppress(ProcessLookupError, PermissionError):
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL, None, PIDFD_SIGNAL_PROCESS_GROUP)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                os.killpg(self.pid, signal.SIGKILL)  # before Linux 6.9; numbers come round again much later

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end; False when the time was over first."""
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
        """Whether SIGKILL ended it, or the end of the process that it was forked from."""
        return bool(self.pid) and self._ended.is_set() and self._code in (None, -signal.SIGKILL)

    def __del__(self) -> None:
        if getattr(self, "_pidfd", -1) >= 0:
            os.close(self._pidfd)
