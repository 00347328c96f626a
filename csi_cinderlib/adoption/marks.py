"""Marks of earlier adoptions in a store: which records each has added, and whether it was completed.

The keys of the records are stored before the first of them, and the mark after the last. A record of a completed adoption that the store
lacks was removed since, so no other run may bring it back, even if the source has changed. A record of an interrupted one may have
been removed from the source before the next run.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from csi_cinderlib.errors import AlreadyExists, NotFound
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

    def is_unfinished(self, checksum: str) -> bool:
        """Whether the adoption was begun and not completed."""
        return checksum in self.keys and checksum not in self.completed

    def has(self, checksum: str, key: Key) -> bool:
        """Whether the record is among those of an adoption."""
        return _digest(key) in self.keys.get(checksum, ())

    def missing(self, checksum: str, keys: Iterable[Key]) -> int:
        """How many records of an adoption are not among these."""
        return len(self.keys.get(checksum, frozenset()) - set(map(_digest, keys)))

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


def forget_completed(store: Store, known: Marks, keys: Collection[Key]) -> None:
    """Remove the marks of records from all completed adoptions, so that they can be adopted again."""
    for checksum in known.completed:
        if any(known.has(checksum, key) for key in keys):
            forget(store, checksum, keys)


def complete(
    store: Store, checksum: str, source: str, counts: Mapping[str, int], *, initiators: Mapping[str, str] | None = None
) -> None:
    """Store the mark of a completed adoption. Raises AlreadyExists.

    Args:
        initiators: digests of the InitiatorData that it has added, by id.
    """
    mark = {"source": source, "at": times.stamp(times.utc_now()), "records": dict(counts)}
    if initiators:
        mark["initiators"] = dict(initiators)
    store.add(KeyValue(id=f"{_MARK}{checksum}", value=json.dumps(mark)))


def initiators(store: Store, checksum: str) -> Mapping[str, str]:
    """As `complete` has stored them."""
    with suppress(NotFound):
        return dict(json.loads(store.get(KeyValue, f"{_MARK}{checksum}").value).get("initiators", {}))
    return {}


def forget(store: Store, checksum: str, keys: Iterable[Key]) -> None:
    """Remove the marks of records, so that they can be adopted again. May be repeated."""
    forget_keys(store, checksum, keys)
    forget_empty(store, checksum)


def forget_keys(store: Store, checksum: str, keys: Iterable[Key]) -> None:
    """As `forget`, but the mark of the completed adoption stays."""
    gone = frozenset(map(_digest, keys))
    for part in _parts(store, checksum):
        left = [digest for digest in part.value.split() if digest not in gone]
        if not left:
            store.remove(part)
        elif len(left) < len(part.value.split()):
            store.replace(replace(part, value=" ".join(left)))


def forget_all(store: Store, checksum: str) -> None:
    """Remove the marks of an adoption that was not completed."""
    for part in _parts(store, checksum):
        store.remove(part)


def forget_empty(store: Store, checksum: str) -> None:
    """Remove the mark of a completed adoption of which no key is left."""
    if not _parts(store, checksum):
        with suppress(NotFound):
            store.remove(store.get(KeyValue, f"{_MARK}{checksum}"))


def _parts(store: Store, checksum: str) -> list[KeyValue]:
    return [kept for kept in walk_all(store, KeyValue) if kept.id.startswith(f"{_MARK}{checksum}.")]


def _digest(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()[:16]
