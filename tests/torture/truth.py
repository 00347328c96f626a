"""What must be true, kept outside of the driver: what was asked, what was answered, and checksums of all data."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ABSENT, CREATED, ATTACHED, STAGED, PUBLISHED = range(5)
"""Levels of a volume, in the order in which the orchestrator reaches them."""

GIB = 1024**3


@dataclass
class Snapshot:
    """A snapshot, or one that is being created or deleted.

    Attributes:
        contents, has_format: of its volume when the snapshot was taken.
        exists: the call that creates it was answered.
        deleting: the call that deletes it was made.
    """

    name: str
    volume: Volume
    contents: dict[str, str]
    size: int
    has_format: bool = True
    id: str = ""
    exists: bool = False
    deleting: bool = False


@dataclass
class Volume:
    """A volume, or one that is being created or deleted. Used by one client; others need `guard`.

    Attributes:
        size: GiB, as answered last; `wanted` differs while an expansion is unanswered.
        level: reached for certain; `reached` is what it may have beyond that.
        undoing: the way down from `reached` has begun and must be finished.
        contents: checksums by file name, or by offset on a raw device. Only what was fsynced.
        has_format: a file system was made on it, or it is a raw device.
        was_attached: a node may have written to it. A copy of such a volume that has no file system yet cannot be staged.
        is_gone: it was deleted before its snapshots, which are still there.
        written: how many pieces of data were ever written.
        unstaged_growth: the node still has to be told of the growth.
        thick: whether its space is allocated, as answered last; None while a modification to `wants_thick` is unanswered.
    """

    name: str
    kind: str
    size: int = 1
    source: Snapshot | Volume | None = None
    id: str = ""
    level: int = ABSENT
    reached: int = ABSENT
    undoing: bool = False
    wanted: int = 0
    unstaged_growth: bool = False
    thick: bool | None = False
    wants_thick: bool = False
    contents: dict[str, str] = field(default_factory=dict)
    has_format: bool = False
    was_attached: bool = False
    is_gone: bool = False
    written: int = 0
    snapshots: list[Snapshot] = field(default_factory=list)
    guard: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        self.wanted = self.wanted or self.size
        self.has_format = self.kind == "block" or (self.source is not None and self.source.has_format)

    @property
    def can_be_copied(self) -> bool:
        return self.has_format or not self.was_attached

    @property
    def is_settled(self) -> bool:
        return self.level == self.reached and not self.undoing and self.size == self.wanted


class Finding(Exception):
    """The driver broke a promise."""


class Truth:
    """All volumes and what became of the calls. Thread-safe.

    Args:
        log: gets a line for each call and disturbance.
    """

    def __init__(self, log: Path) -> None:
        self.volumes: list[Volume] = []
        self.findings: list[str] = []
        self.counts: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._started = time.monotonic()
        self._log = log.open("a", buffering=1)

    def close(self) -> None:
        self._log.close()

    def add(self, volume: Volume) -> None:
        with self._guard:
            self.volumes.append(volume)

    def forget(self, volume: Volume) -> None:
        with self._guard:
            self.volumes.remove(volume)

    def existing(self) -> list[Volume]:
        with self._guard:
            return list(self.volumes)

    def snapshots(self) -> list[Snapshot]:
        return [snapshot for volume in self.existing() for snapshot in volume.snapshots]

    def tell(self, line: str, count: str = "") -> None:
        with self._guard:
            if count:
                self.counts[count] += 1
            self._log.write(f"{time.monotonic() - self._started:9.3f} {line}\n")

    def find(self, problem: str) -> None:
        self.tell(f"FINDING {problem}")
        with self._guard:
            self.findings.append(problem)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
