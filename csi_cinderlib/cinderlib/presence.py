"""Who is at work on a record: this process, told from all others, and whether another one still lives.

Several processes may use one database at a time, oVirt's one for each call. None may finish or undo what another one is
still at work on, and each must be able to when the other was killed. On the same machine the kernel knows. Of a process
elsewhere, in another container say, only what it wrote is known: when it opened the store, and, once it is a minute old, that
it lived a minute ago.
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
"""Seconds for the last sign to be taken back. One that stays runs out with its lease."""
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Process:
    """What a record says of the process that works on it, `HOST:PLACE:PID:TICKS:SINCE`.

    Attributes:
        host: for people.
        place: of which machine, since which start of it, and of which PID namespace the kernel's answer counts.
        ticks: when it started, on the kernel's clock: a PID is given again, the two together are not.
        since: when it opened the store, in microseconds since 1970.
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
        """None when it is another kind of name."""
        parts = name.rsplit(":", _PARTS - 1)
        if len(parts) != _PARTS or not all(part.isdigit() for part in parts[2:]):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]), int(parts[4]))

    def __str__(self) -> str:
        return f"{self.host}:{self.place}:{self.pid}:{self.ticks}:{self.since}"

    def runs(self) -> bool:
        """Whether it does, for one of this place."""
        ticks = _ticks(self.pid)
        return ticks is None or ticks == self.ticks


class Presence:
    """This process on one store, and the others there. Thread-safe.

    Args:
        name: `str(Process.this(...))`.
        now: seconds since 1970. The clocks of two machines may differ by some of the lease.
        beat: seconds between two signs of life.
    """

    def __init__(self, store: Store, name: str, *, now: Callable[[], float] = time.time, beat: float = BEAT) -> None:
        self.name = name
        self._store = store
        self._now = now
        self._beat = beat
        self._place = _place()
        self._signs = heartbeats.Owners(store, owner=name)
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Give signs of life from now on, where others may look for them."""
        if self._store.traits.durable and self._store.traits.shared:
            self._thread = threading.Thread(target=self._live, name="csi-cinderlib-presence", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Give none any more. Before the store is closed."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=_PATIENCE)

    def alive(self, owner: str) -> bool:
        """Whether another process of that name may still be at work (`csi_cinderlib.lifecycle.local.LocalBackend`'s `is_alive`).

        Raises:
            StoreUnavailable: nobody knows right now.
        """
        if owner in {"", self.name}:
            return False
        process = Process.parse(owner)
        if process is not None and process.place == self._place:
            return process.runs()
        last = max(self._last_sign(owner), process.since / 1e6 if process else 0.0)
        return self._now() - last < LEASE

    def _last_sign(self, owner: str) -> float:
        """In seconds since 1970."""
        try:
            value = self._store.get(KeyValue, heartbeats.PREFIX + owner).value
        except NotFound:
            return 0.0
        nanoseconds = value.partition(".")[0]
        return int(nanoseconds) / 1e9 if nanoseconds.isdigit() else 0.0

    def _live(self) -> None:
        gave = False
        while not self._end.wait(self._beat):
            with contextlib.suppress(DriverError):  # the store may be away for a while
                self._signs.beat()
                gave = True
        if gave:
            with contextlib.suppress(DriverError):
                self._signs.leave()


def is_sign(key: str) -> bool:
    """Whether a key-value of this name is a process's sign of life, and nothing of a user's."""
    return key.startswith(heartbeats.PREFIX) and Process.parse(key.removeprefix(heartbeats.PREFIX)) is not None


def _place() -> str:
    """One of its own for each call where the kernel does not say: then nobody's process is judged by its number."""
    try:
        boot = kernel.boot_id()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # it is no path
    except OSError:
        return secrets.token_hex(8)
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:16]


def _ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine's start (proc_pid_stat(5), starttime).

    Returns:
        -1 when there is none any more; None when there is one that /proc hides from us (its mount option hidepid).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if _exists(pid) else -1
    state, ticks = fields[0], int(fields[19])  # the fields from the third on
    return -1 if state in "ZX" else ticks


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
