"""The objects of a set-up that the program holds, found by their record."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

_Key = tuple[type, str]


class HeldObjects:
    """Weak references to volumes, snapshots and connections. Most records have one object; further ones are kept by `id()`.

    Other threads may add objects during an iteration, so iterations use `valuerefs`, which is a copy.
    """

    def __init__(self) -> None:
        self._first: weakref.WeakValueDictionary[_Key, Any] = weakref.WeakValueDictionary()
        self._others: dict[_Key, weakref.WeakValueDictionary[int, Any]] = {}

    def add(self, held: Any) -> None:
        key = _key(held)
        if self._first.setdefault(key, held) is not held:
            self._others.setdefault(key, weakref.WeakValueDictionary())[id(held)] = held

    def beside(self, held: Any) -> list[Any]:
        """The other objects of the same record."""
        key = _key(held)
        others = self._others.get(key)
        if others is not None and not others:
            self._others.pop(key, None)
        known = (self._first.get(key), *(_alive(others) if others is not None else ()))
        return [one for one in known if one is not None and one is not held]

    def __iter__(self) -> Iterator[Any]:
        yield from _alive(self._first)
        for others in list(self._others.values()):
            yield from _alive(others)


def _alive(held: weakref.WeakValueDictionary[Any, Any]) -> list[Any]:
    return [one for reference in held.valuerefs() if (one := reference()) is not None]


def _key(held: Any) -> _Key:
    return type(held._record), held._record.id
