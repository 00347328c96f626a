"""The process from which driver processes are forked (see `forking`). It has imported their shared modules and has one thread."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from csi_cinderlib.backend.forking import ASKING, STATUS
from csi_cinderlib.cinder import driver_process  # noqa: F401  # with all that it imports
from csi_cinderlib.cinder.runtime import find_lock_driver, load_cinder
from csi_cinderlib.host import dumps, kernel

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h."""
OOM_SCORE = 300
"""Counts as if a driver used an additional 30 % of the memory (proc_pid_oom_score_adj(5))."""


def main(control: int) -> NoReturn:
    """Fork until the main process has ended."""
    dumps.forbid()
    load_cinder()
    find_lock_driver()
    gc.collect()
    gc.freeze()  # a collection in a forked process would write to shared pages and copy them
    _Forks(socket.socket(fileno=control)).serve()


def _end_with(parent: int) -> None:
    """Works only for a parent with one thread, since the kernel checks the thread that forked."""
    kernel.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _be_first_without_memory() -> None:
    """Let the kernel kill a driver or its programs when memory runs out, not the controller or the warm process."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError), dumps.owning_proc():  # /proc may be read-only
        score.write_text(str(min(1000, int(score.read_text()) + OOM_SCORE)))


class _Forks:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._statuses: dict[int, int] = {}
        self._woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # In a container, orphans would otherwise go to the main process, which is the first one and does not reap them.
        kernel.call("prctl", PR_SET_CHILD_SUBREAPER, 1)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        for number in (signal.SIGTERM, *ASKING):  # for the main process, which ends this one cleanly
            signal.signal(number, _nothing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)

    def serve(self) -> NoReturn:
        while True:
            readable = wait([self._control.fileno(), self._woken])
            if self._woken in readable:
                os.read(self._woken, 4096)
                self._reap()
            if self._control.fileno() in readable:
                request, files, _, _ = socket.recv_fds(self._control, 1, 5)
                if not request:
                    self._leave()
                self._answer(files)

    def _answer(self, files: list[int]) -> None:
        """Fork a process. An error must not end this process and with it all drivers: closed files tell the caller."""
        try:
            connection, printed, status, shared, doorbell = files  # fewer arrive if this process is out of descriptors
            pid = self._fork(connection, printed, shared, doorbell)
        except (OSError, ValueError):
            print("cannot start a driver process:", traceback.format_exc(), file=sys.stderr, flush=True)
        else:
            files.remove(status)
            self._statuses[pid] = status
            _tell(status, pid)
        finally:
            for number in files:
                os.close(number)

    def _fork(self, connection: int, printed: int, shared: int, doorbell: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _begin(parent, connection, printed, shared, doorbell)
        with suppress(OSError):  # it may already have done so, and ended
            os.setpgid(pid, pid)
        return pid

    def _reap(self) -> None:
        """Reap driver processes and their orphans."""
        with suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                status = self._statuses.pop(found.si_pid, None)
                if status is not None:
                    _end_programs(found.si_pid)  # before its pid can be reused and the next process starts
                _, ended = os.waitpid(found.si_pid, 0)
                if status is not None:
                    _tell(status, ended)
                    os.close(status)

    def _leave(self) -> NoReturn:
        """End all driver processes and their programs after the main process has ended."""
        for pid in self._statuses:
            _end_programs(pid)
        os._exit(0)


def _end_programs(pid: int) -> None:
    """Kill the process group of a driver process. Services started by a driver have their own groups."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _tell(status: int, value: int) -> None:
    try:
        os.write(status, STATUS.pack(value))
    except BrokenPipeError:  # the main process no longer reads the status
        return


def _begin(parent: int, connection: int, printed: int, shared: int, doorbell: int) -> NoReturn:
    """Runs in the new process."""
    try:
        os.setpgid(0, 0)
        _end_with(parent)
        _be_first_without_memory()
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if number in (connection, shared, doorbell):
                os.set_inheritable(
                    number, False
                )  # otherwise the driver's programs would inherit the received descriptors
            elif number > 2:
                _close(number)
        _run(Connection(connection), shared, socket.socket(fileno=doorbell))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def _close(number: int) -> None:
    try:
        os.close(number)
    except OSError:  # the descriptor of the listing itself
        return


def _run(connection: Connection, shared: int, doorbell: socket.socket) -> None:
    assignment: tuple[str, str, tuple[Any, ...], int] = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the main process
    target, name, arguments, main_process = assignment
    kernel.call("prctl", PR_SET_NAME, name.encode()[:15])
    module, _, function = target.partition(":")
    run: Callable[..., None] = getattr(importlib.import_module(module), function)
    run(connection, doorbell, main_process, shared, *arguments)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler instead of SIG_IGN, which a driver's programs would inherit."""
