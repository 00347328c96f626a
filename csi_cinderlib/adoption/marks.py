"""Marks of earlier adoptions in a store: which records each has added, and whether it was completed.

The keys of the records are stored before the first of them, and the mark after the last. A record of a completed adoption that the store
lacks was removed since, so no other run may bring it back, even if the source has changed. A record of an interrupted one may have
been removed from the source before the next run.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.model import times
from csi_cinderlib.model.records import OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_all

Key = tuple[str, str]
"""Kind and id."""

_MARK = f"{OWN_KEYS}adopted."
_PART = 1000
"""Keys in one key-value, so that every store can keep it."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What earlier adoptions have left.

    Attributes:
        completed: when each was completed, by checksum.
        keys: digests of the keys of the records, by checksum.
    """

    completed: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def was_adopted(self, key: Key) -> bool:
        """Whether a completed adoption has added the record."""
        return any(_digest(key) in self.keys.get(checksum, ()) for checksum in self.completed)

    def was_interrupted(self, key: Key) -> bool:
        """Whether only an adoption that was not completed can have added the record."""
        return not self.was_adopted(key) and any(_digest(key) in keys for keys in self.keys.values())

    @property
    def are_completed(self) -> bool:
        """Whether no adoption was interrupted."""
        return set(self.keys) <= set(self.completed)


def read(store: Store) -> Marks:
    """The marks in a store. Raises CorruptRecord: a mark may be unreadable."""
    completed: dict[str, str] = {}
    keys: dict[str, set[str]] = defaultdict(set)
    for kept in walk_all(store, KeyValue):
        if kept.id.startswith(_MARK):
            checksum, _, part = kept.id.removeprefix(_MARK).partition(".")
            if part:
                keys[checksum].update(kept.value.split())
            else:
                completed[checksum] = str(json.loads(kept.value)["at"])
    return Marks(completed, {checksum: frozenset(digests) for checksum, digests in keys.items()})


def begin(store: Store, checksum: str, keys: Iterable[Key]) -> None:
    """Store the keys of the records that will be added. May be repeated."""
    digests = sorted(map(_digest, keys))
    for start in range(0, len(digests), _PART):
        part = KeyValue(id=f"{_MARK}{checksum}.{start // _PART}", value=" ".join(digests[start : start + _PART]))
        with suppress(AlreadyExists):
            store.add(part)


def complete(store: Store, checksum: str, source: str, counts: Mapping[str, int]) -> None:
    """Store the mark of a completed adoption. Raises AlreadyExists."""
    mark = {"source": source, "at": times.stamp(times.utc_now()), "records": dict(counts)}
    store.add(KeyValue(id=f"{_MARK}{checksum}", value=json.dumps(mark)))


def _digest(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:16]
