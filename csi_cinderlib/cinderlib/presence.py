"""The owner of a record: a unique name for this process, and a check whether the process of another name is alive.

Several processes may use the same database; oVirt starts one for each call. No process may finish or undo an operation while its
owner is alive, but must be able to when the owner was killed. On the same machine the kernel is asked. For a process elsewhere,
for example in another container, the store is used: it contains the time at which the process opened the store and, after the
first minute, regular heartbeats.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.errors import DriverError, NotFound
from csi_cinderlib.host import kernel
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning import heartbeats
from csi_cinderlib.provisioning.heartbeats import BEAT, LEASE

_PATIENCE = 10.0
"""Seconds to wait for the removal of the last heartbeat. A heartbeat that stays expires with its lease."""
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Process:
    """The owner process in a record, `HOST:PLACE:PID:TICKS:SINCE`.

    Attributes:
        host: informational.
        place: identifies the machine, its boot and the PID namespace of `pid`.
        ticks: the start time on the kernel's clock. PIDs are reused, but not with the same start time.
        since: when the process opened the store, in microseconds since 1970.
    """

    host: str
    place: str
    pid: int
    ticks: int
    since: int

    @classmethod
    def this(cls, host: str) -> Process:
        pid = os.getpid()
        return cls(host, _place(), pid, _ticks(pid) or 0, time.time_ns() // 1000)

    @classmethod
    def parse(cls, name: str) -> Process | None:
        """None if the name has another form."""
        parts = name.rsplit(":", _PARTS - 1)
        if len(parts) != _PARTS or not all(part.isdigit() for part in parts[2:]):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]), int(parts[4]))

    def __str__(self) -> str:
        return f"{self.host}:{self.place}:{self.pid}:{self.ticks}:{self.since}"

    def runs(self) -> bool:
        """Whether the process runs; only for a process of this place."""
        ticks = _ticks(self.pid)
        return ticks is None or ticks == self.ticks


class Presence:
    """The heartbeat of this process in a store, and the check of others. Thread-safe.

    Args:
        name: `str(Process.this(...))`.
        now: seconds since 1970. The clocks of two machines may differ by a part of the lease.
        beat: seconds between two heartbeats.
    """

    def __init__(self, store: Store, name: str, *, now: Callable[[], float] = time.time, beat: float = BEAT) -> None:
        self.name = name
        self._store = store
        self._now = now
        self._beat = beat
        self._place = _place()
        self._signs = heartbeats.Owners(store, owner=name)
        self._end = threading.Event()
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start heartbeats, if other processes may use the store."""
        if self._store.traits.durable and self._store.traits.shared:
            self._thread = threading.Thread(target=self._live, name="csi-cinderlib-presence", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop heartbeats. Call it before the store is closed."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=_PATIENCE)

    def alive(self, owner: str) -> bool:
        """Whether another process of that name may still be alive (`is_alive` of `csi_cinderlib.lifecycle.local.LocalBackend`).

        Raises:
            StoreUnavailable: the store does not respond.
        """
        if owner in {"", self.name}:
            return False
        process = Process.parse(owner)
        if process is not None and process.place == self._place:
            return process.runs()
        last = max(self._last_sign(owner), process.since / 1e6 if process else 0.0)
        return self._now() - last < LEASE

    def _last_sign(self, owner: str) -> float:
        """The time of the last heartbeat, in seconds since 1970."""
        try:
            value = self._store.get(KeyValue, heartbeats.PREFIX + owner).value
        except NotFound:
            return 0.0
        nanoseconds = value.partition(".")[0]
        return int(nanoseconds) / 1e9 if nanoseconds.isdigit() else 0.0

    def _live(self) -> None:
        has_beaten = False
        while not self._end.wait(self._beat):
            if os.getpid() != self._pid:  # a green thread, which goes on in a forked child
                return
            with contextlib.suppress(DriverError):  # the store may be unavailable for a while
                self._signs.beat()
                has_beaten = True
        if has_beaten:
            with contextlib.suppress(DriverError):
                self._signs.leave()


def is_sign(key: str) -> bool:
    """Whether a key-value is a heartbeat of a process, not a user's value."""
    return key.startswith(heartbeats.PREFIX) and Process.parse(key.removeprefix(heartbeats.PREFIX)) is not None


def _place() -> str:
    """The place of this process. Without an answer of the kernel it is random, so that no process is judged by its PID."""
    try:
        boot = kernel.boot_id()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # not a path
    except OSError:
        return secrets.token_hex(8)
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine's start (proc_pid_stat(5), starttime).

    Returns:
        -1 if the process does not exist; None if /proc hides it (mount option hidepid).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if _exists(pid) else -1
    state, ticks = fields[0], int(fields[19])  # the list starts with the third field
    return -1 if state in "ZX" else ticks


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
