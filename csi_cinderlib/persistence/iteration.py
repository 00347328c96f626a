"""Iteration over many records, page by page.

An unreadable record must not block work on others, but a decision that needs all records must not ignore it. The functions differ in how
they treat it:

- `walk` skips it, for work on each record separately.
- `walk_all` and `all_of` raise CorruptRecord, for decisions that need all records.
- `walk_with_unreadable`, `pages` and `key_values` return its id, for reports and counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import EMPTY, KeyValue
from csi_cinderlib.persistence.api import Page, R, Store, Where

PAGE = 500
"""Records per page. An iteration needs memory for one page only."""


def pages(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[Page[R]]:
    """Yield the pages of all records of a kind, in id order."""
    after = ""
    while True:
        page = store.page(kind, after=after, limit=PAGE, where=where)
        yield page
        if not page.next:
            return
        after = page.next


def walk(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[R]:
    """Yield all readable records, in id order."""
    for page in pages(store, kind, where):
        yield from page.records


def walk_with_unreadable(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[R | str]:
    """Yield all readable records and the ids of unreadable ones, page by page in id order."""
    for page in pages(store, kind, where):
        yield from page.records
        yield from page.corrupt


def key_values(store: Store, prefix: str) -> Iterator[tuple[str, KeyValue | None]]:
    """Yield the key-values whose keys begin with a prefix, in their order; None for one that cannot be read.

    `page.next` does not tell where the prefix ends: after an unreadable record, it is a place of the store and no key.
    """
    after = prefix
    while True:
        page = store.page(KeyValue, after=after, limit=PAGE)
        found: dict[str, KeyValue | None] = {record.id: record for record in page.records}
        found.update(dict.fromkeys(page.corrupt))
        yield from ((key, found[key]) for key in sorted(found) if key.startswith(prefix))
        is_over = any(record.id > prefix and not record.id.startswith(prefix) for record in page.records)
        if is_over or not page.next:
            return
        after = page.next


def walk_all(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[R]:
    """Yield all records, in id order.

    Raises:
        CorruptRecord: a record cannot be read.
    """
    for page in pages(store, kind, where):
        check_readable(kind, where, page)
        yield from page.records


def check_readable(kind: type[R], where: Where, page: Page[R]) -> None:
    """Raises CorruptRecord if a record of the page cannot be read."""
    if page.corrupt:
        raise CorruptRecord(kind.__name__.lower(), page.corrupt[0], _needed(where))


def all_of(store: Store, kind: type[R], where: Where = EMPTY) -> tuple[R, ...]:
    """Return all records as a tuple, for example the attachments of a volume.

    Raises:
        CorruptRecord: a record cannot be read.
    """
    return tuple(walk_all(store, kind, where))


def _needed(where: Where) -> str:
    criteria = " and ".join(f"{name} {value!r}" for name, value in where.items() if isinstance(value, str))
    return f"the operation needs all records with {criteria}" if criteria else "the operation needs all records"
