"""What an installation keeps about itself in its store: the namespace of its ids, made once at its first start, and its cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from csi_cinderlib.errors import AlreadyExists, ConfigurationError, CorruptRecord, NotFound, StaleRecord
from csi_cinderlib.model import ids
from csi_cinderlib.model.records import OWN_KEYS, KeyValue, Volume
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import pages

KEY = f"{OWN_KEYS}installation"
"""The id of the key-value that holds the namespace as a UUID."""

CLUSTER_KEY = f"{OWN_KEYS}cluster"
"""The id of the key-value that names the cluster which uses the store."""

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


def find(store: Store) -> ids.Namespace | None:
    """What `namespace` would answer, without writing anything; None if it would make a new one. Raises what `namespace` raises."""
    with suppress(NotFound):
        return _read(store)
    chosen = _choose(store)
    return chosen if chosen == ids.SHARED else None


def claim(store: Store, cluster: str, *, take_over_from: str = "") -> None:
    """Make the store this cluster's, or see that it is.

    A second cluster with a copy of the records has the same ids, so that a deletion there would reach the first one's volumes.

    Args:
        cluster: the UID of its namespace kube-system.
        take_over_from: that of a cluster which is gone, and whose store this one goes on with.

    Raises:
        ConfigurationError: it is another cluster's.
    """
    with suppress(AlreadyExists):
        store.add(KeyValue(id=CLUSTER_KEY, value=cluster))
        return
    found = _get(store, CLUSTER_KEY)
    if found.value == cluster:
        return
    if found.value != take_over_from:
        raise ConfigurationError(
            "store",
            f"it belongs to the cluster {found.value}, and this is the cluster {cluster} (the UID of the namespace kube-system). With the "
            "same records, two clusters would delete each other's volumes; "
            "see docs/how-to/backup-and-restore.md#the-store-belongs-to-another-cluster",
        )
    try:
        store.replace(replace(found, value=cluster))
    except StaleRecord:  # another controller does the same
        claim(store, cluster)


def _get(store: Store, key: str) -> KeyValue:
    try:
        return store.get(KeyValue, key)
    except CorruptRecord as error:
        raise ConfigurationError("store", f"{error}{_ADVICE}") from error


def _read(store: Store) -> ids.Namespace:
    value = _get(store, KEY).value
    try:
        return ids.Namespace(uuid.UUID(value))
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
    for page in pages(store, Volume):
        yield from ((record.id, record.name) for record in page.records)
        yield from ((id, "") for id in page.corrupt)
