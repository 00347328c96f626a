"""What may be left on a back end, out of reach of its driver and of every record.

Some arrays assign ids, and their drivers know objects by these alone. Was the id lost with the process that was to write it down,
the driver answers a deletion as done and leaves the object there. An object of the same name that this driver did not create is
not touched at all. Both are written down before the record goes, with the name to look for on the array, until an operator has
looked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from csi_cinderlib.errors import AlreadyExists, NameTaken, NotFound
from csi_cinderlib.model.records import OWN_KEYS, KeyValue
from csi_cinderlib.persistence.api import Store

PREFIX = f"{OWN_KEYS}leftover."
RESTORED = "its record was half done in a restored copy of the metadata"
"""As `name_taken` of a record: what is there under its name may have been finished since, and be in use."""
_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One object that may be on a back end.

    Attributes:
        kind: "volume" or "snapshot".
        id: of the record that it was made for.
        name: what the driver calls it on the array.
        since: when it was noted first.
        reason: why it may be there, as a clause.
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
    """Why an object with the name of a record is left alone, as a clause."""
    return name_taken if name_taken == RESTORED else f"not created by this driver: {name_taken}"


def refuse_restored(kind: str, id: str, name_taken: str) -> None:
    """Raises NameTaken when nobody knows whether there is such an object: made anew, it would be there twice or overwritten."""
    if name_taken == RESTORED:
        raise NameTaken(kind, id, f"{name_taken}: look at the back end, and then `csi-cinderlib orphans forget {id}`")


def note(store: Store, leftover: Leftover) -> None:
    """Write it down, once for each object and back end."""
    with suppress(AlreadyExists):
        store.add(KeyValue(id=leftover.key, value=json.dumps(asdict(leftover))))


def walk(store: Store) -> Iterator[tuple[str, Leftover | None]]:
    """The key of each, and what it says; None where that cannot be read."""
    after = PREFIX
    while True:
        page = store.page(KeyValue, after=after, limit=_PAGE)
        found: dict[str, KeyValue | None] = {record.id: record for record in page.records}
        found.update(dict.fromkeys(page.corrupt))
        for key in sorted(found):
            if key.startswith(PREFIX):
                yield key, _read(found[key])
        if not page.next or not page.next.startswith(PREFIX):
            return
        after = page.next


def _read(record: KeyValue | None) -> Leftover | None:
    try:
        return Leftover(**json.loads(record.value)) if record is not None else None
    except (ValueError, TypeError):
        return None


def forget(store: Store, id: str) -> tuple[Leftover, ...]:
    """Forget what was noted for the object with that id, and answer it."""
    forgotten = tuple(leftover for _, leftover in walk(store) if leftover is not None and leftover.id == id)
    for leftover in forgotten:
        with suppress(NotFound):
            store.remove(store.get(KeyValue, leftover.key))
    return forgotten
