"""The metadata store of a set-up. The program can exchange it, and a forked child opens its own; the back ends keep this object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from csi_cinderlib.model.records import EMPTY, Attachment, Record, Volume
from csi_cinderlib.persistence import together
from csi_cinderlib.persistence.api import Page, R, Selection, Store, Traits, Where


class CurrentStore:
    """A `Store` that passes each call on to the open one.

    Args:
        current: returns the open store, and opens it if necessary.
    """

    def __init__(self, current: Callable[[], Store]) -> None:
        self._current = current
        self._changes = 0

    @property
    def current(self) -> Store:
        """The open store itself."""
        return self._current()

    @property
    def attachments_state(self) -> tuple[Store, int]:
        """Changes when this process changes an attachment, and with the open store."""
        return self._current(), self._changes

    @property
    def traits(self) -> Traits:
        return self._current().traits

    @traits.setter
    def traits(self, _traits: Traits) -> None:  # the protocol declares an attribute
        raise AttributeError("the traits are those of the open store")

    def add(self, record: R) -> R:
        try:
            return self._current().add(record)
        finally:
            self._note(record, Attachment)

    def get(self, kind: type[R], id: str) -> R:
        return self._current().get(kind, id)

    def replace(self, record: R) -> R:
        try:
            return self._current().replace(record)
        finally:
            self._note(record, Attachment)

    def remove(self, record: R) -> None:
        try:
            self._current().remove(record)
        finally:
            self._note(record, Attachment, Volume)  # a volume is removed with its attachments

    def _note(self, record: Record, *kinds: type[Record]) -> None:
        """Call it after the change, or its failure, which may be a lost answer: what was read before or meanwhile is out of date."""
        if type(record) in kinds:
            self._changes += 1

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = EMPTY) -> Page[R]:
        return self._current().page(kind, after=after, limit=limit, where=where)

    def pages(self, selections: Sequence[Selection[Any]]) -> Sequence[Page[Any]]:
        return together.read(self._current(), *selections)

    def close(self) -> None:
        """The set-up closes the open store."""
