"""Copies of the library's objects."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Library

_SHARED = frozenset({"_library", "_backend", "_record", "_base", "_listed"})
"""What copies of an object share: the set-up, the back end, and the immutable records."""


class Copyable:
    """Supports `copy.copy` and `copy.deepcopy`, but not `pickle`. A copy follows changes of the store, as the original does."""

    _library: Library

    def __copy__(self) -> Self:
        """An object that shares Cinder's object with this one."""
        twin = self._copied(vars(self))
        twin._library.objects.add(twin)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """An object with its own Cinder's object and its own related objects, on the same back end."""
        twin = memo[id(self)] = self._copied({})
        for name, value in vars(self).items():
            vars(twin)[name] = value if name in _SHARED else copy.deepcopy(value, memo)
        twin._library.objects.add(twin)
        return twin

    def _copied(self, values: Mapping[str, Any]) -> Self:
        twin = object.__new__(type(self))
        vars(twin).update(values)
        return twin

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {self._noun} cannot be pickled; use its `dumps`, and `load` in the other process")

    @property
    def _noun(self) -> str:
        return type(self).__name__.lower()
