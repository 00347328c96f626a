"""The objects of a set-up that the program holds, found by their record."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

_Key = tuple[type, str]


class HeldObjects:
    """Weak references to volumes, snapshots and connections. Most records have one object; further ones are in sets."""

    def __init__(self) -> None:
        self._first: weakref.WeakValueDictionary[_Key, Any] = weakref.WeakValueDictionary()
        self._others: dict[_Key, weakref.WeakSet[Any]] = {}

    def add(self, held: Any) -> None:
        key = _key(held)
        if self._first.setdefault(key, held) is not held:
            self._others.setdefault(key, weakref.WeakSet()).add(held)

    def beside(self, held: Any) -> list[Any]:
        """The other objects of the same record."""
        key = _key(held)
        others = self._others.get(key)
        if others is not None and not others:
            self._others.pop(key, None)
        return [one for one in (self._first.get(key), *(others or ())) if one is not None and one is not held]

    def __iter__(self) -> Iterator[Any]:
        yield from list(self._first.values())
        for others in list(self._others.values()):
            yield from list(others)


def _key(held: Any) -> _Key:
    return type(held._record), held._record.id
