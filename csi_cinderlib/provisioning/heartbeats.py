"""Processes that share a store, and the sealing key of each.

Each process updates its own record every minute. Only the clock of the observer is used, because the clocks of two machines differ.
"""

from __future__ import annotations

import itertools
import math
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from csi_cinderlib.errors import AlreadyExists, NotFound, StaleRecord
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.api import Store

BEAT = 60.0
"""Seconds between two heartbeats."""
LEASE = 5 * BEAT
"""Seconds without a heartbeat after which an owner counts as dead."""

PREFIX = "owner."
"""Prefix of the ids of the owners' records (key-values)."""

_BEAT = re.compile(r"\d+\.\d+\..*")
"""Value of such a record. Users of the library may have other values under keys with this prefix."""
_MOST = 1000
"""Limit of the records that are searched for owners; there are only a few controllers."""


def _no_key() -> str:
    return ""


class Owners:
    """This process as an owner, and its view of the other owners. Thread-safe.

    Args:
        writer: id of the key that seals the records of this process; each heartbeat publishes it.
    """

    def __init__(
        self,
        store: Store,
        *,
        owner: str,
        lease: float = LEASE,
        monotonic: Callable[[], float] = time.monotonic,
        writer: Callable[[], str] = _no_key,
    ) -> None:
        self.owner = owner
        self._store = store
        self._lease = lease
        self._now = monotonic
        self._writer = writer
        self._seen: dict[str, tuple[str, float]] = {}
        self._guard = threading.Lock()
        self._beats = itertools.count(1)
        self._told = ""
        self._due = -math.inf

    def refresh(self) -> None:
        """Send a heartbeat if the last one is a minute old or the sealing key has changed, and remove records of dead owners."""
        if self._now() >= self._due or self._writer() != self._told:
            self.beat()
            self._prune()

    def beat(self) -> None:
        """Send a heartbeat."""
        writer = self._writer()
        self._write(f"{time.time_ns()}.{next(self._beats)}.{writer}")
        self._told, self._due = writer, self._now() + BEAT

    def _write(self, value: str) -> None:
        key = PREFIX + self.owner
        try:
            record = self._store.get(KeyValue, key)
            self._store.replace(KeyValue(id=key, value=value, revision=record.revision))
        except NotFound:  # the first heartbeat, or another process considered this one dead
            with suppress(AlreadyExists):
                self._store.add(KeyValue(id=key, value=value))

    def leave(self) -> None:
        """Remove the record of this process, so that its successor need not wait for the lease."""
        with suppress(NotFound):
            self._store.remove(self._store.get(KeyValue, PREFIX + self.owner))

    def lagging(self, writer: str) -> tuple[str, ...]:
        """The other live owners that have not published this sealing key yet."""
        owners = self._records().items()
        return tuple(
            owner for owner, record in owners if record.value.split(".", 2)[2:] != [writer] and self.alive(owner)
        )

    def _prune(self) -> None:
        """Remove the records of dead owners: a killed process cannot remove its own, and others would wait for its lease."""
        for owner, record in self._records().items():
            if _BEAT.fullmatch(record.value) and owner not in {"", self.owner} and not self.alive(owner):
                with suppress(NotFound, StaleRecord):  # another process was faster, or the owner is alive again
                    self._store.remove(record)

    def _records(self) -> dict[str, KeyValue]:
        records = self._store.page(KeyValue, after=PREFIX, limit=_MOST).records
        return {record.id.removeprefix(PREFIX): record for record in records if record.id.startswith(PREFIX)}

    def alive(self, owner: str) -> bool:
        """Whether another process of that name may still be running.

        A name without a record never sent a heartbeat, or has left. A process that has the store for itself sends none.
        """
        if owner in {"", self.owner}:
            return False
        try:
            value = self._store.get(KeyValue, PREFIX + owner).value
        except NotFound:
            return False
        with self._guard:
            last, since = self._seen.get(owner, ("", 0.0))
            if value != last:
                self._seen[owner] = (value, self._now())
                return True
            return self._now() - since < self._lease
