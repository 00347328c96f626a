"""The dictionaries of cinderlib's plugin in memory, over a metadata store in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


class Table(dict[Any, Any]):
    """Objects by id. A removed item removes its record, and a new one stores it; the objects on the storage do not change.

    The content is that of the moment: read the attribute again after other changes.

    Args:
        dependents: tables that `clear` clears first.
    """

    def __init__(
        self,
        items: Iterable[tuple[Any, Any]],
        store: Callable[[Any], None],
        remove: Callable[[Any], None],
        dependents: Iterable[Table] = (),
    ) -> None:
        super().__init__(items)
        self._dependents = tuple(dependents)
        self._store = store
        self._remove = remove

    def __setitem__(self, key: Any, value: Any) -> None:
        self._store(value)
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        self._remove(self[key])
        super().__delitem__(key)

    def pop(self, key: Any, *default: Any) -> Any:
        if key in self:
            self._remove(self[key])
        return super().pop(key, *default)

    def popitem(self) -> tuple[Any, Any]:
        key = next(reversed(self))
        return key, self.pop(key)

    def clear(self) -> None:
        for table in self._dependents:
            table.clear()
        for key in tuple(self):
            del self[key]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value
