"""The namespace of this installation's ids: made once, at its first start, and kept in its store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress

from csi_cinderlib.errors import AlreadyExists, ConfigurationError, CorruptRecord, NotFound
from csi_cinderlib.model import ids
from csi_cinderlib.model.records import EMPTY, OWN_KEYS, KeyValue, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning import paging

KEY = f"{OWN_KEYS}installation"
"""The id of the key-value that holds the namespace as a UUID."""

_ADVICE = "; see docs/how-to/backup-and-restore.md#the-installations-record-is-lost-or-cannot-be-read"


def namespace(store: Store) -> ids.Namespace:
    """This installation's namespace. The first of several controllers that start at once decides for all of them.

    Raises:
        ConfigurationError: the record is lost or cannot be read. Another namespace would make each retried call create a
            second volume.
    """
    with suppress(NotFound):
        return _read(store)
    with suppress(AlreadyExists):
        store.add(KeyValue(id=KEY, value=str(_choose(store).uuid)))
    return _read(store)


def _read(store: Store) -> ids.Namespace:
    try:
        return ids.Namespace(uuid.UUID(store.get(KeyValue, KEY).value))
    except CorruptRecord as error:
        raise ConfigurationError("store", f"{error}{_ADVICE}") from error
    except ValueError:
        raise ConfigurationError("store", f"key-value {KEY!r} does not hold a UUID{_ADVICE}") from None


def _choose(store: Store) -> ids.Namespace:
    """A new namespace, or the shared one if the volumes in the store have ids from it."""
    has_derived = False
    for id, name in _volumes(store):
        if ids.SHARED.volume_id(name) == id:
            return ids.SHARED
        has_derived = has_derived or ids.is_derived(id)
    if has_derived:
        raise ConfigurationError("store", f"it has volumes but no key-value {KEY!r}{_ADVICE}")
    return ids.random_namespace()


def _volumes(store: Store) -> Iterator[tuple[str, str]]:
    """Ids and names; a record that cannot be read has no name."""
    for page in paging.pages(store, Volume, EMPTY):
        yield from ((record.id, record.name) for record in page.records)
        yield from ((id, "") for id in page.corrupt)
