"""What befalls the driver's processes and disks."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.torture import plan
from tests.torture.bed import Bed
from tests.torture.plan import Disturbance

STEP = 4 * 1024**2
TRACED_SECONDS = 2.0
"""How long a tracer waits for the system call."""
_DETACH_SECONDS = 3.0


class Disturber:
    """One disturbance after the other; each is over before the next begins."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._acts: dict[str, Callable[[Disturbance, threading.Event], None]] = {
            plan.KILLS: self._kill,
            plan.SYSCALL_KILLS: self._trace,
            plan.SYSCALL_ERRORS: self._trace,
            plan.SIGSTOP: self._stop,
            plan.FULL_STATE: lambda disturbance, over: fill(bed.state, disturbance.seconds, over),
            plan.FULL_POOL: lambda disturbance, over: fill(bed.pool, disturbance.seconds, over),
            plan.MISSING_POOL: self._take_pool_away,
        }

    def run(self, disturbances: Iterable[Disturbance], over: threading.Event) -> None:
        """Until the round is over."""
        for disturbance in disturbances:
            if over.wait(disturbance.after):
                return
            self._bed.truth.tell(f"--- {disturbance}", disturbance.name)
            self._acts[disturbance.name](disturbance, over)

    def _kill(self, disturbance: Disturbance, _: threading.Event) -> None:
        if disturbance.process != plan.DRIVER:
            self._bed.keeper(disturbance.process).kill()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._bed.pid(disturbance.process), signal.SIGKILL)

    def _stop(self, disturbance: Disturbance, over: threading.Event) -> None:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self._bed.pid(disturbance.process))
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
                over.wait(disturbance.seconds)
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            finally:
                os.close(pidfd)

    def _trace(self, disturbance: Disturbance, over: threading.Event) -> None:
        pid = self._bed.pid(disturbance.process)
        if trace(pid, disturbance, self._bed.root / "strace.log", over):
            self._bed.truth.tell(f"the {disturbance.process} ended while it was traced", "ended at a system call")

    def _take_pool_away(self, disturbance: Disturbance, over: threading.Event) -> None:
        self._bed.unmount_disk(self._bed.pool)
        try:
            over.wait(disturbance.seconds)
        finally:
            self._bed.mount_disk(self._bed.pool)


def trace(pid: int, disturbance: Disturbance, log: Path, over: threading.Event) -> bool:
    """Let a system call of a process kill it, or fail. Whether the process ended meanwhile.

    Each thread, and each program that the process runs, counts its own calls.
    """
    fate = f"error={disturbance.error}" if disturbance.error else "signal=KILL"
    inject = f"inject={disturbance.syscall}:{fate}:when={disturbance.nth}"
    argv = ["strace", "-f", "-q", "-A", "-o", str(log), "-e", f"trace={disturbance.syscall}", "-e", inject]
    tracer = subprocess.Popen([*argv, "-p", str(pid)], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for_end(tracer, TRACED_SECONDS, over)
        return tracer.poll() == 0  # 1: it could not attach
    finally:
        _end(tracer)


def fill(disk: Path, seconds: float, over: threading.Event) -> None:
    """Leave no room on a disk for some time."""
    ballast = disk / "ballast"
    try:
        _write_until_full(ballast)
        over.wait(seconds)
    finally:
        ballast.unlink()


def _write_until_full(path: Path) -> None:
    """To the last block: in large steps first, then in small ones."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    size, step = 0, STEP
    try:
        while step >= 4096:
            try:
                os.posix_fallocate(fd, size, step)
                size += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
    finally:
        os.close(fd)


def _end(tracer: subprocess.Popen[bytes]) -> None:
    """strace detaches when it is asked to end. It may miss the end of a thread and wait for ever, while its process stays a
    zombie: then the kernel detaches."""
    tracer.terminate()
    try:
        tracer.wait(_DETACH_SECONDS)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()
    with contextlib.suppress(ProcessLookupError):  # what it forks to try the kernel out, if it was ended meanwhile
        os.killpg(tracer.pid, signal.SIGKILL)


def _wait_for_end(process: subprocess.Popen[bytes], seconds: float, over: threading.Event) -> None:
    for _ in range(int(seconds / 0.05)):
        if process.poll() is not None or over.wait(0.05):
            return
