"""Imports that have ended: given up, or deleted.

An id is the handle of the volume in Kubernetes. A PersistentVolume may be left there, perhaps with the policy to delete its volume: the note
tells an undo which objects those are, and a VolumeImport that its import has ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.lifecycle.lookup import find
from csi_cinderlib.model.records import OWN_KEYS, KeyValue, Record, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import Store

_PREFIX = f"{OWN_KEYS}given-up."
_PAGE = 1000


def note(store: Store, record: Record) -> None:
    """Note an imported volume or snapshot before its record is removed. Raises StoreUnavailable.

    One that is IMPORTING was never usable, so nothing refers to it.
    """
    if not isinstance(record, Volume | Snapshot) or record.imported is None or record.status is Status.IMPORTING:
        return
    within = record.pool if isinstance(record, Volume) else record.volume_id
    origin = {"kind": type(record).__name__, "backend": record.backend, "name": record.imported.name, "within": within}
    if record.imported.requester:
        origin["requester"] = record.imported.requester
    with suppress(AlreadyExists):
        store.add(KeyValue(id=f"{_PREFIX}{record.id}", value=json.dumps(origin)))


def ids(store: Store, kind: type[Volume] | type[Snapshot], backend: str, name: str, within: str) -> tuple[str, ...]:
    """The ids that ended imports of an object of that name had.

    Args:
        within: the pool of the volume, or the id of the volume of the snapshot; "" for any.
    """
    wanted = {"kind": kind.__name__, "backend": backend, "name": name} | ({"within": within} if within else {})
    found = (id for id, told in _notes(store) if wanted.items() <= told.items())
    return tuple(id for id in found if not _has_record(store, id))


def is_ended(store: Store, requester: str) -> bool:
    """Whether an import that this VolumeImport requested has ended."""
    found = (id for id, told in _notes(store) if requester and told.get("requester") == requester)
    return any(not _has_record(store, id) for id in found)


def _has_record(store: Store, id: str) -> bool:
    """Whether the end of the import was interrupted before its record was removed."""
    return find(store, Volume, id) is not None or find(store, Snapshot, id) is not None


def _notes(store: Store) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The id and the content of each note."""
    after = _PREFIX
    while True:
        page = store.page(KeyValue, after=after, limit=_PAGE)
        for record in page.records:
            if record.id.startswith(_PREFIX):
                yield record.id.removeprefix(_PREFIX), _content(record)
        if not page.next or not page.next.startswith(_PREFIX):
            return
        after = page.next


def _content(note: KeyValue) -> Mapping[str, Any]:
    try:
        found = json.loads(note.value)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
