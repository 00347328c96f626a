"""Data of an installation in its store: the namespace of its ids, created at the first start, and its cluster."""

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
"""Id of the key-value that contains the namespace as a UUID."""

CLUSTER_KEY = f"{OWN_KEYS}cluster"
"""Id of the key-value that names the cluster of the store."""

_ADVICE = "; see docs/how-to/backup-and-restore.md#the-installations-record-is-lost-or-cannot-be-read"


def namespace(store: Store) -> ids.Namespace:
    """The namespace of this installation. If several controllers start at once, the first one decides.

    Raises:
        ConfigurationError: the record is lost or unreadable. With another namespace, each retried call would create a second
            volume.
    """
    with suppress(NotFound):
        return _read(store)
    with suppress(AlreadyExists):
        store.add(KeyValue(id=KEY, value=str(_choose(store).uuid)))
    return _read(store)


def find(store: Store) -> ids.Namespace | None:
    """The result of `namespace`, without any write; None if it would create one. Raises what `namespace` raises."""
    with suppress(NotFound):
        return _read(store)
    chosen = _choose(store)
    return chosen if chosen == ids.SHARED else None


def claim(store: Store, cluster: str, *, take_over_from: str = "") -> None:
    """Claim the store for this cluster, or check that it belongs to it.

    A second cluster with a copy of the records has the same ids, so a deletion there would delete volumes of the first cluster.

    Args:
        cluster: UID of its namespace kube-system.
        take_over_from: UID of a removed cluster whose store this cluster takes over.

    Raises:
        ConfigurationError: the store belongs to another cluster.
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
            f"belongs to cluster {found.value}, but this is cluster {cluster} (UID of the namespace kube-system); "
            "two clusters with the same records would delete each other's volumes; "
            "see docs/how-to/backup-and-restore.md#the-store-belongs-to-another-cluster",
        )
    try:
        store.replace(replace(found, value=cluster))
    except StaleRecord:  # another controller claims it at the same time
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
    """A new namespace, or the shared one if ids of volumes in the store come from it."""
    has_derived = False
    for id, name in _volumes(store):
        if ids.SHARED.volume_id(name) == id:
            return ids.SHARED
        has_derived = has_derived or ids.is_derived(id)
    if has_derived:
        raise ConfigurationError("store", f"has volumes but no key-value {KEY!r}{_ADVICE}")
    return ids.random_namespace()


def _volumes(store: Store) -> Iterator[tuple[str, str]]:
    """Ids and names. The name of an unreadable record is empty."""
    for page in pages(store, Volume):
        yield from ((record.id, record.name) for record in page.records)
        yield from ((id, "") for id in page.corrupt)
