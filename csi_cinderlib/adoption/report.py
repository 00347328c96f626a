"""What an adoption finds, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from csi_cinderlib.adoption.found import Found
from csi_cinderlib.adoption.writing import Plan
from csi_cinderlib.model.records import Record
from csi_cinderlib.persistence.codec import kind_name

MOST = 10
"""Ids on a line."""


def lines(found: Found, planned: Plan, source: str, configured: Collection[str] | None) -> Iterator[str]:
    """The report of a dry run, which is also printed before writing.

    Args:
        configured: the names of the configured back ends; None if there is no configuration to compare with.
    """
    yield f"{source}: {_counted(planned.content.counts)}"
    yield f"checksum: {planned.checksum}"
    if found.deleted:
        yield f"deleted there, left out: {_counted(found.deleted)}"
    for backend, count in sorted(found.backends().items()):
        missing = configured is not None and backend not in configured
        yield f"back end {backend}: {_counted({'volume': count})}" + (
            "; not in the configuration, add it before use" if missing else ""
        )
    attached: dict[str, list[str]] = {}
    for attachment in found.attachments.values():
        attached.setdefault(attachment.node_id, []).append(attachment.volume_id)
    for node, volumes in sorted(attached.items()):
        yield f"attached to {node}: {_listed(sorted(volumes))}"
    yield from (f"note: {clause}: {_listed(rows)}" for clause, rows in found.notes.items())
    if planned.done:
        yield f"these records were adopted at {planned.done}; nothing to do"
    elif present := len(planned.records) - len(planned.new) - len(planned.removed):
        yield f"in the store already: {present}"
    if planned.removed:
        yield f"removed from the store since an earlier adoption, left out: {_listed(_named(planned.removed))}"
    if planned.stale:
        stale = [" ".join(key) for key in planned.stale]
        yield f"note: in the store from an interrupted adoption, but no longer in the source: {_listed(stale)}"


def _listed(items: Sequence[str]) -> str:
    more = len(items) - MOST
    return ", ".join([*items[:MOST], *([f"and {more} more"] if more > 0 else [])])


def _named(records: Iterable[Record]) -> list[str]:
    return [f"{kind_name(type(record))} {record.id}" for record in records]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(_items(counts.items())) or "no records"


def _items(counts: Iterable[tuple[str, int]]) -> Iterator[str]:
    for kind, count in counts:
        yield f"{count} {kind}"
