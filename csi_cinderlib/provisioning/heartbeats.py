"""Which processes share a store, and with which key each of them seals.

Each changes a record of its own every minute. Whether it does is judged by the observer's clock alone, since the clocks of two
machines differ.
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
"""Seconds between two signs of life."""
LEASE = 5 * BEAT
"""Seconds after which an owner that did not beat is taken for dead."""

PREFIX = "owner."
"""Of the ids of owners' own records (key-values)."""

_BEAT = re.compile(r"\d+\.\d+\..*")
"""The value of such a record, told from the value of a user of the library under a key that begins so."""
_MOST = 1000
"""Records looked through for those of owners; controllers are a few."""


def _no_key() -> str:
    return ""


class Owners:
    """This process as an owner, and the others as it sees them. Thread-safe.

    Args:
        writer: the id of the key that seals this process' records; each beat tells it to the others.
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
        """Say that this process lives if the last time is a minute ago, or if it seals with another key than it said then. Of those that
        live no more the records are removed."""
        if self._now() >= self._due or self._writer() != self._told:
            self.beat()
            self._prune()

    def beat(self) -> None:
        """Say that this process lives."""
        writer = self._writer()
        self._write(f"{time.time_ns()}.{next(self._beats)}.{writer}")
        self._told, self._due = writer, self._now() + BEAT

    def _write(self, value: str) -> None:
        key = PREFIX + self.owner
        try:
            record = self._store.get(KeyValue, key)
            self._store.replace(KeyValue(id=key, value=value, revision=record.revision))
        except NotFound:  # the first beat, or another process took this one for dead
            with suppress(AlreadyExists):
                self._store.add(KeyValue(id=key, value=value))

    def leave(self) -> None:
        """Say that this process ends, so that its successor need not wait for the lease."""
        with suppress(NotFound):
            self._store.remove(self._store.get(KeyValue, PREFIX + self.owner))

    def lagging(self, writer: str) -> tuple[str, ...]:
        """The other owners that live and, as far as they have told, do not seal with this key yet."""
        owners = self._records().items()
        return tuple(
            owner for owner, record in owners if record.value.split(".", 2)[2:] != [writer] and self.alive(owner)
        )

    def _prune(self) -> None:
        """Remove the records of owners that are dead, since a killed process cannot: nobody is to wait for a lease of theirs again."""
        for owner, record in self._records().items():
            if _BEAT.fullmatch(record.value) and owner not in {"", self.owner} and not self.alive(owner):
                with suppress(NotFound, StaleRecord):  # another process was faster, or it beats again
                    self._store.remove(record)

    def _records(self) -> dict[str, KeyValue]:
        records = self._store.page(KeyValue, after=PREFIX, limit=_MOST).records
        return {record.id.removeprefix(PREFIX): record for record in records if record.id.startswith(PREFIX)}

    def alive(self, owner: str) -> bool:
        """Whether another process of that name may still be at work.

        A name without a record never beat, or left: where one process has the store for itself, nobody beats at all.
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
