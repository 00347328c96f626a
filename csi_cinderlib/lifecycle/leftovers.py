"""Objects that may be left on a back end without a record.

Some arrays assign ids, and their drivers find objects only by id. If a process ends before it stores the id, the driver later reports
the deletion as successful and leaves the object on the array. An object of the same name that this driver did not create is never touched.
Both cases are noted before the record is removed, with the name of the object on the array, until an operator has checked it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from csi_cinderlib.errors import AlreadyExists, NameTaken, NotFound
from csi_cinderlib.model.records import OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import key_values

PREFIX = f"{OWN_KEYS}leftover."
RESTORED = "its record was half done in a restored copy of the metadata"
"""The value of `name_taken` that marks a record as unfinished in a restored copy. Stored and compared, so it must not change.

The object with its name may have been completed after the copy was taken, and may be in use.
"""
_UNFINISHED = "its record was unfinished in a restored copy of the metadata"
_WHOLE = 90
"""Stores with object names may shorten longer keys of notes that they cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """An object that may be left on a back end.

    Attributes:
        kind: "volume" or "snapshot".
        id: id of its record.
        name: its name on the array.
        since: when it was first noted.
        reason: why it may be left, as a clause.
    """

    kind: str
    id: str
    backend: str
    pool: str = ""
    name: str
    since: str
    reason: str

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.id}.{self.kind}.{self.backend}"


def why(name_taken: str) -> str:
    """Why an object with the name of a record is left untouched, as a clause."""
    return _UNFINISHED if name_taken == RESTORED else f"not created by this driver: {name_taken}"


def refuse_restored(kind: str, id: str, name_taken: str) -> None:
    """Raises NameTaken if the object may exist: creating it again could duplicate or overwrite it."""
    if name_taken == RESTORED:
        raise NameTaken(kind, id, f"{_UNFINISHED}; check the back end, then run `csi-cinderlib orphans forget {id}`")


def note(store: Store, leftover: Leftover) -> None:
    """Store a note, once for each object and back end."""
    with suppress(AlreadyExists):
        store.add(KeyValue(id=leftover.key, value=json.dumps(asdict(leftover))))


def walk(store: Store) -> Iterator[tuple[str, Leftover | None]]:
    """Yield the key and content of each note; the content is None if it cannot be read."""
    for key, record in key_values(store, PREFIX):
        yield key, _read(record)


def may_concern(key: str, found: Leftover | None, backend: str) -> bool:
    """Whether a note is of a back end. Of one that cannot be read, only the key is known, and a long key not as a whole."""
    return found.backend == backend if found is not None else key.endswith(f".{backend}") or len(key) > _WHOLE


def _read(record: KeyValue | None) -> Leftover | None:
    try:
        return Leftover(**json.loads(record.value)) if record is not None else None
    except (ValueError, TypeError):
        return None


def forget(store: Store, id: str) -> tuple[Leftover, ...]:
    """Remove the notes for an object id and return them."""
    forgotten = tuple(leftover for _, leftover in walk(store) if leftover is not None and leftover.id == id)
    for leftover in forgotten:
        with suppress(NotFound):
            store.remove(store.get(KeyValue, leftover.key))
    return forgotten
