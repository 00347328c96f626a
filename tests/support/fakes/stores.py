"""Stores for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from csi_cinderlib.persistence.api import Page, R, Store, Where
from csi_cinderlib.persistence.memory import MemoryStore


class ObservedStore(MemoryStore):
    """A memory store that tells what is asked of it, and lets a test act just before."""

    def __init__(self) -> None:
        super().__init__(None)
        self.calls: list[str] = []
        self.before: dict[str, Callable[[Any], object]] = {}

    def _note(self, call: str, argument: Any) -> None:
        self.calls.append(call)
        if action := self.before.pop(call, None):
            action(argument)

    def add(self, record: R) -> R:
        self._note("add", record)
        return super().add(record)

    def get(self, kind: type[R], id: str) -> R:
        self._note("get", id)
        return super().get(kind, id)

    def replace(self, record: R) -> R:
        self._note("replace", record)
        return super().replace(record)

    def page(self, kind: type[R], *, after: str = "", limit: int = 100, where: Where = MappingProxyType({})) -> Page[R]:
        self._note("page", kind)
        return super().page(kind, after=after, limit=limit, where=where)

    def remove(self, record: R) -> None:
        self._note("remove", record)
        super().remove(record)


def touch(store: Store, record: R) -> R:
    """Change nothing but the revision, as another process would by changing something."""
    current = store.get(type(record), record.id)
    values: dict[str, Any] = {"labels": {"touched": "yes"}} if hasattr(current, "labels") else {}
    return store.replace(replace(current, **values))
