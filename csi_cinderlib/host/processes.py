"""Whether another process still does anything. One that was killed may stay for ever, with all files that it had open and their locks:
a thread that waits in the kernel for a share that hangs does not die, and keeps them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.host import kernel

PROC = Path("/proc")
_NAMESPACE = "self/ns/pid"
_STARTED = 19
"""The process's start among the fields after its name (proc_pid_stat(5): field 22), in clock ticks since boot."""
_FLAGS = 6
"""The kernel's flags of the thread (field 9)."""
_EXITING = 0x4
"""PF_EXITING (linux/sched.h): the thread never returns to its program."""
_DEAD = frozenset("ZXx")
_IN_KERNEL = "D"
_SIGKILL = 1 << (signal.SIGKILL - 1)
_LOOKS = 2
"""Threads come and go while their list is read: two looks must agree."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, by a name that no other one ever has.

    Attributes:
        started: in the kernel's clock ticks; "" where it is not known.
        boot: the kernel's run.
        namespace: the inode of the process id namespace in which it has that id.
    """

    pid: int
    started: str = ""
    boot: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.boot} {self.namespace}".strip()

    @property
    def can_be_told(self) -> bool:
        """Whether the process of that id, if there is one, would be seen from here."""
        return bool(self.started) and (self.boot, self.namespace) == (_boot(), _namespace())


def this() -> Process:
    """This process. Raises OSError where /proc is hidden."""
    return Process(os.getpid(), _stat(PROC / "self")[_STARTED], _boot(), _namespace())


def parse(text: str) -> Process | None:
    """What `str` made of a process; one of which only the id was noted; None for anything else."""
    parts = text.split()
    if not parts or not parts[0].isdecimal() or len(parts) not in (1, 4):
        return None
    return Process(int(parts[0]), *parts[1:])


def exists(process: Process) -> bool:
    """Whether it is there, in whatever state."""
    try:
        return bool(_threads(process))
    except OSError:
        return False


def is_over(process: Process) -> bool:
    """Whether it is proven that the process has been killed, or has ended, and runs no program code any more.

    That is so when each of its threads is dead or exiting, or is in a wait that nothing interrupts and has SIGKILL pending: the kernel
    ends such a thread before it returns from the wait, and a process that is being ended gets no new threads. False when there is no
    such process, since nobody can tell then who it was.
    """
    try:
        looks = [_threads(process) for _ in range(_LOOKS)]
    except OSError:
        return False
    return bool(looks[0]) and looks[0] == looks[-1] and all(thread.is_over for thread in looks[0].values())


def is_ending(process: Process) -> bool:
    """Whether it is being ended, although its threads may still run for a moment."""
    try:
        return any(thread.is_over or thread.is_killed for thread in _threads(process).values())
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Thread:
    """A thread as the kernel shows it.

    Attributes:
        is_killed: SIGKILL waits for it, wherever it is: for a moment after the kill it may be awake.
        is_over: it runs no program code any more.
    """

    is_killed: bool
    is_over: bool


def _threads(process: Process) -> dict[str, _Thread]:
    """By their ids. Raises OSError, also for a process that cannot be told."""
    if process.started and not process.can_be_told:
        raise ProcessLookupError(process.pid)
    where = PROC / str(process.pid)
    if process.started and _stat(where)[_STARTED] != process.started:
        raise ProcessLookupError(process.pid)
    threads = {}
    for thread in os.listdir(where / "task"):  # noqa: PTH208 - names alone
        try:
            threads[thread] = _thread(where / "task" / thread)
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return threads


def _thread(where: Path) -> _Thread:
    is_killed = _is_killed(where)  # before its state: what is seen to wait afterwards waits with the signal
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
    return str(os.stat(PROC / _NAMESPACE).st_ino)  # noqa: PTH116 - of what the link leads to, which has no path
