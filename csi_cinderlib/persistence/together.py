"""Several reads for one decision. A store across a network answers them in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csi_cinderlib.errors import CorruptRecord, NotFound
from csi_cinderlib.persistence.api import Page, R, Selecting, Selection, Store
from csi_cinderlib.persistence.iteration import all_of, check_readable


def read(store: Store, *selections: Selection[Any]) -> Sequence[Page[Any]]:
    """The first page of each selection. A missing record is an empty page. The pages may be read one after the other, in order."""
    if isinstance(store, Selecting):
        return store.pages(selections)
    return [_page(store, selection) for selection in selections]


def _page(store: Store, selection: Selection[R]) -> Page[R]:
    if not selection.id:
        return store.page(selection.kind, limit=selection.limit, where=selection.where)
    try:
        return Page((store.get(selection.kind, selection.id),))
    except NotFound:
        return Page(())
    except CorruptRecord:
        return Page((), corrupt=(selection.id,))


def all_from(store: Store, selection: Selection[R], page: Page[R]) -> tuple[R, ...]:
    """All records of a selection, of which the first page is known. Raises CorruptRecord if one cannot be read."""
    check_readable(selection.kind, selection.where, page)
    return page.records if not page.next else all_of(store, selection.kind, selection.where)
