"""Filtered lists of records, oldest first, as `csi-cinderlib get` prints them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Any

from csi_cinderlib.inspection import rows
from csi_cinderlib.inspection.rows import Row
from csi_cinderlib.model import labels
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Node, Record, Snapshot, Status, Volume
from csi_cinderlib.persistence.api import INDEXED, Page, Store
from csi_cinderlib.persistence.iteration import pages, walk

SORTED = 2_000
"""Maximum number of rows that are sorted by age. Longer lists are in the order of ids, in the memory of one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter for rows; an empty field matches all rows.

    Attributes:
        words: ids or their beginnings, names, or claims (`namespace/name`); a row must match one of them.
        troubled: only failed objects.
    """

    words: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    troubled: bool = False

    def where(self, kind: type[Record]) -> dict[str, tuple[str, ...]]:
        """The part of the filter that the store applies."""
        given = {"backend": self.backends, "status": self.statuses}
        return {name: values for name, values in given.items() if values and name in INDEXED[kind]}

    def accepts(self, row: Mapping[str, Any]) -> bool:
        namespace = str(row.get("claim", "")).partition("/")[0]
        return (
            (not self.words or any(names(row, word) for word in self.words))
            and _is_among(self.backends, row.get("backend"))
            and _is_among(self.pools, row.get("pool"))
            and _is_among(self.statuses, row.get("status"))
            and _is_among(self.nodes, *_nodes(row))
            and _is_among(self.claims, row.get("claim"))
            and _is_among(self.namespaces, namespace)
            and (not self.troubled or rows.is_troubled(row))
        )


def names(row: Mapping[str, Any], word: str) -> bool:
    """Whether a word from the command line matches this row."""
    id = str(row.get("id", row.get("name", "")))
    return bool(word) and (id.startswith(word) or word in (row.get("name"), row.get("claim"), row.get("host")))


def _is_among(wanted: Sequence[str], *present: object) -> bool:
    return not wanted or any(value in wanted for value in present)


def _nodes(row: Mapping[str, Any]) -> list[object]:
    return [row.get("node"), row.get("host"), *(row.get("nodes") or ())]


def volumes(store: Store, wanted: Filter, now: datetime) -> Iterator[Row]:
    def build(page: Page[Volume]) -> Iterator[Row]:
        kept = [record for record in page.records if record.status is not Status.DELETED]
        attached = _attached(store, [record.id for record in kept])
        return (rows.volume_row(record, attached[record.id], now) for record in kept)

    return _listed(store, Volume, wanted, build)


def snapshots(store: Store, wanted: Filter, now: datetime) -> Iterator[Row]:
    return _listed(store, Snapshot, wanted, lambda page: (rows.snapshot_row(record, now) for record in page.records))


def groups(store: Store, wanted: Filter, now: datetime) -> Iterator[Row]:
    return _listed(store, Group, wanted, lambda page: (rows.group_row(record, now) for record in page.records))


def group_snapshots(store: Store, wanted: Filter, now: datetime) -> Iterator[Row]:
    def build(page: Page[GroupSnapshot]) -> Iterator[Row]:
        return (rows.group_snapshot_row(record, now) for record in page.records)

    return _listed(store, GroupSnapshot, wanted, build)


def attachments(store: Store, wanted: Filter, now: datetime) -> Iterator[Row]:
    claims = {record.id: labels.claim(record.labels) for record in walk(store, Volume) if record.labels}

    def build(page: Page[Attachment]) -> Iterator[Row]:
        return (rows.attachment_row(record, claims.get(record.volume_id, ""), now) for record in page.records)

    return _listed(store, Attachment, wanted, build)


def node_rows(store: Store, registry: Store | None, wanted: Filter) -> Iterator[Row]:
    """Registered nodes and nodes of attachments, sorted by name.

    Args:
        registry: the store in which nodes register; None if it cannot be read.
    """
    counted: Counter[str] = Counter()
    connectors: dict[str, Mapping[str, object]] = {}
    for attachment in walk(store, Attachment):
        counted[attachment.node_id] += 1
        connectors.setdefault(attachment.node_id, attachment.connector)
    registered = {node.id: node for node in walk(registry, Node)} if registry is not None else {}
    listed = [
        rows.node_row(
            id, registered[id].connector if id in registered else connectors[id], counted[id], registered.get(id)
        )
        for id in registered.keys() | connectors.keys()
    ]
    return (row for row in sorted(listed, key=lambda row: str(row["host"])) if wanted.accepts(row))


def orphans(store: Store, registry: Store | None) -> list[Row]:
    """All unfinished work.

    Args:
        registry: the store in which nodes register; None if it cannot be read, and nodes are then not checked.
    """
    from csi_cinderlib.concurrency import KeyedLocks
    from csi_cinderlib.lifecycle.registry import Backends
    from csi_cinderlib.provisioning.orphans import Orphans

    found = Orphans(store, Backends(), KeyedLocks(), nodes=registry).find(nodes_too=registry is not None)
    return [asdict(orphan) for orphan in found]


def orphan_rows(found: Iterable[Row], wanted: Filter, now: datetime) -> Iterator[Row]:
    return filter(wanted.accepts, ({**orphan, "age": rows.age(orphan["created_at"], now)} for orphan in found))


def volume_counts(store: Store) -> Counter[str]:
    """Number of volumes by back end."""
    return Counter(record.backend for record in walk(store, Volume) if record.status is not Status.DELETED)


def _attached(store: Store, volume_ids: Sequence[str]) -> defaultdict[str, list[Attachment]]:
    found = defaultdict(list)
    if volume_ids:
        for attachment in walk(store, Attachment, {"volume_id": tuple(volume_ids)}):
            found[attachment.volume_id].append(attachment)
    return found


def _listed(store: Store, kind: Any, wanted: Filter, build: Callable[[Any], Iterable[Row]]) -> Iterator[Row]:
    columns = FIELDS[kind]
    for page in pages(store, kind, wanted.where(kind)):
        yield from filter(wanted.accepts, build(page))
        yield from filter(wanted.accepts, (rows.unreadable_row(id, columns) for id in page.corrupt))


FIELDS: Mapping[type[Record], tuple[str, ...]] = {
    Volume: ("claim", "gib", "backend", "pool", "nodes", "age", "name", "type", "source", "created_at"),
    Snapshot: ("claim", "volume", "gib", "backend", "age", "name", "created_at"),
    Group: ("backend", "volumes", "consistent", "age", "name", "created_at"),
    GroupSnapshot: ("backend", "snapshots", "volumes", "age", "name", "created_at"),
    Attachment: ("volume", "claim", "node", "backend", "protocol", "age", "created_at"),
}
"""Columns of an unreadable record's row, besides id, status and message."""


def oldest_first(listed: Iterator[Mapping[str, Any]], most: int = SORTED) -> tuple[Iterator[Mapping[str, Any]], bool]:
    """The rows by age, and whether they are sorted. More than `most` rows keep their order."""
    first = list(islice(listed, most + 1))
    if len(first) > most:
        return chain(first, listed), False
    return iter(sorted(first, key=lambda row: (str(row.get("created_at", "")), str(row.get("id", ""))))), True
