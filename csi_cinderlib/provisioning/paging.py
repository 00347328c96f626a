"""Tokens and limits of the list calls, and walks over whole lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from csi_cinderlib.errors import CorruptRecord, OperationPending
from csi_cinderlib.model.records import (
    Attachment,
    Group,
    GroupSnapshot,
    InitiatorData,
    KeyValue,
    Node,
    Snapshot,
    Volume,
)
from csi_cinderlib.persistence.api import Page, Store, Where

R = TypeVar("R", Volume, Snapshot, Attachment, Group, GroupSnapshot, InitiatorData, KeyValue, Node)

_AFTER = "after:"
_WALK = 1000


def start(token: str) -> str:
    """The id after which a list goes on.

    Raises:
        OperationPending: the token is not one of ours (spec: ABORTED, "start over").
    """
    if not token:
        return ""
    after = token.removeprefix(_AFTER)
    if after == token or not after:
        raise OperationPending(
            f"starting_token {token[:64]!r} was not issued by this driver: list again from the start"
        )
    return after


def token(next: str) -> str:
    return _AFTER + next if next else ""


def size(limit: int, most: int) -> int:
    """How many entries a page has: never more than `most`, since an answer must fit into a gRPC message."""
    return min(limit, most) if limit else most


def walk(store: Store, kind: type[R], where: Where) -> Iterator[R]:
    """All records with these fields.

    Raises:
        CorruptRecord: one cannot be read. Callers that decide on "all of them" must not decide on a part.
    """
    for page in pages(store, kind, where):
        if page.corrupt:
            raise CorruptRecord(kind.__name__.lower(), page.corrupt[0], "it may be one of those asked for")
        yield from page.records


def pages(store: Store, kind: type[R], where: Where) -> Iterator[Page[R]]:
    after = ""
    while True:
        page = store.page(kind, after=after, limit=_WALK, where=where)
        yield page
        if not page.next:
            return
        after = page.next
