"""Reading many records, page by page.

A record that cannot be read must not stop work on the others, and a decision that needs all records must not overlook it. The
caller chooses by function:

- `walk` leaves it out: for work that is done for each record by itself.
- `walk_all` and `all_of` raise CorruptRecord: for a decision that needs all of them.
- `walk_with_unreadable` and `pages` name it: for reports and counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model.records import EMPTY
from csi_cinderlib.persistence.api import Page, R, Store, Where

PAGE = 500
"""Records read at once; a walk over any number of records takes the memory of one page."""


def pages(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[Page[R]]:
    """Every record of that kind in id order."""
    after = ""
    while True:
        page = store.page(kind, after=after, limit=PAGE, where=where)
        yield page
        if not page.next:
            return
        after = page.next


def walk(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[R]:
    """Every record that can be read, in id order."""
    for page in pages(store, kind, where):
        yield from page.records


def walk_with_unreadable(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[R | str]:
    """Every record, and the id alone of each that cannot be read; page by page in id order."""
    for page in pages(store, kind, where):
        yield from page.records
        yield from page.corrupt


def walk_all(store: Store, kind: type[R], where: Where = EMPTY) -> Iterator[R]:
    """Every record, in id order.

    Raises:
        CorruptRecord: one cannot be read.
    """
    for page in pages(store, kind, where):
        if page.corrupt:
            raise CorruptRecord(kind.__name__.lower(), page.corrupt[0], _needed(where))
        yield from page.records


def all_of(store: Store, kind: type[R], where: Where = EMPTY) -> tuple[R, ...]:
    """What belongs to one volume or group, say.

    Raises:
        CorruptRecord: one cannot be read.
    """
    return tuple(walk_all(store, kind, where))


def _needed(where: Where) -> str:
    criteria = " and ".join(f"{name} {value!r}" for name, value in where.items() if isinstance(value, str))
    return f"all records with {criteria} are needed" if criteria else "all records are needed"
