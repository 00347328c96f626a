"""Checks whether another process still runs. A killed process may stay for ever with its open files and locks, because a thread that
waits in the kernel for a hanging share does not die."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.host import kernel

PROC = Path("/proc")
_NAMESPACE = "self/ns/pid"
_STARTED = 19
"""The index of the start time after the process name (proc_pid_stat(5): field 22), in clock ticks since boot."""
_FLAGS = 6
"""The kernel's flags of the thread (field 9)."""
_EXITING = 0x4
"""PF_EXITING (linux/sched.h): the thread never returns to its program."""
_DEAD = frozenset("ZXx")
_IN_KERNEL = "D"
_SIGKILL = 1 << (signal.SIGKILL - 1)
_LOOKS = 2
"""The list of threads may change while it is read: two reads must agree."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process with a globally unique identity.

    Attributes:
        started: in the kernel's clock ticks; "" if not known.
        boot: the boot id.
        namespace: the inode of the PID namespace of `pid`.
    """

    pid: int
    started: str = ""
    boot: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.boot} {self.namespace}".strip()

    @property
    def can_be_told(self) -> bool:
        """Whether the process is visible from here if it exists."""
        return bool(self.started) and (self.boot, self.namespace) == (_boot(), _namespace())


def this() -> Process:
    """This process. Raises OSError if /proc is hidden."""
    return Process(os.getpid(), _stat(PROC / "self")[_STARTED], _boot(), _namespace())


def parse(text: str) -> Process | None:
    """Parse the text of `str(Process)`, or a PID alone; None for any other text."""
    parts = text.split()
    if not parts or not parts[0].isdecimal() or len(parts) not in (1, 4):
        return None
    return Process(int(parts[0]), *parts[1:])


def exists(process: Process) -> bool:
    """Whether the process exists, in any state."""
    try:
        return bool(_threads(process))
    except OSError:
        return False


def is_over(process: Process) -> bool:
    """Whether it is proven that the process was killed or has exited and runs no more program code.

    This holds if each thread is dead or exiting, or is in an uninterruptible wait with SIGKILL pending: the kernel ends such a thread
    when the wait ends, and a dying process gets no new threads. False if there is no such process, because its identity cannot be
    checked then.
    """
    try:
        looks = [_threads(process) for _ in range(_LOOKS)]
    except OSError:
        return False
    return bool(looks[0]) and looks[0] == looks[-1] and all(thread.is_over for thread in looks[0].values())


def is_ending(process: Process) -> bool:
    """Whether the process is being killed. Its threads may still run for a moment."""
    try:
        return any(thread.is_over or thread.is_killed for thread in _threads(process).values())
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Thread:
    """The state of a thread.

    Attributes:
        is_killed: SIGKILL is pending. The thread may still run for a moment.
        is_over: the thread runs no more program code.
    """

    is_killed: bool
    is_over: bool


def _threads(process: Process) -> dict[str, _Thread]:
    """The threads by id. Raises OSError, for example if the process is not visible from here."""
    if process.started and not process.can_be_told:
        raise ProcessLookupError(process.pid)
    where = PROC / str(process.pid)
    if process.started and _stat(where)[_STARTED] != process.started:
        raise ProcessLookupError(process.pid)
    threads = {}
    for thread in os.listdir(where / "task"):  # noqa: PTH208 - only names are needed
        try:
            threads[thread] = _thread(where / "task" / thread)
        except (FileNotFoundError, ProcessLookupError):  # it has exited
            continue
    return threads


def _thread(where: Path) -> _Thread:
    is_killed = _is_killed(where)  # read before the state, so that a wait seen afterwards has the signal pending
    stat = _stat(where)
    is_gone = stat[0] in _DEAD or bool(int(stat[_FLAGS]) & _EXITING)
    return _Thread(is_killed, is_gone or (is_killed and stat[0] == _IN_KERNEL))


def _stat(where: Path) -> list[str]:
    text = kernel.read(f"{where}/stat").decode(errors="replace")
    return text.rpartition(")")[2].split()


def _is_killed(where: Path) -> bool:
    for line in kernel.read(f"{where}/status").decode(errors="replace").splitlines():
        if line.startswith("SigPnd:"):
            return bool(int(line.split()[1], 16) & _SIGKILL)
    return False


def _boot() -> str:
    return kernel.boot_id()


def _namespace() -> str:
    return str(os.stat(PROC / _NAMESPACE).st_ino)  # noqa: PTH116 - the link target has no path
