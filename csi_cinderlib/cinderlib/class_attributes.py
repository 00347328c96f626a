"""Class attributes of cinderlib. Here they read the set-up, and import Cinder only when they are accessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from csi_cinderlib.cinderlib import default

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend

V = TypeVar("V")


class OfSetUp(Generic[V]):
    """An attribute of the set-up: of the object's set-up, or for the class, of the process-wide one. Access creates no set-up.

    Args:
        name: the attribute of `Library`.
        before: the value while there is no set-up.
    """

    def __init__(self, name: str, before: Any = None) -> None:
        self._name = name
        self._before = before

    def __get__(self, instance: Any, _owner: type) -> V:
        library = default.current() if instance is None else instance._library
        value: V = self._before if library is None else getattr(library, self._name)
        return value


class Late(Generic[V]):
    """An attribute that is imported on access."""

    def __init__(self, find: Callable[[], V]) -> None:
        self._find = find

    def __get__(self, _instance: object, _owner: type) -> V:
        return self._find()


def ovo_class(name: str) -> Late[Any]:
    """A class of Cinder's versioned objects."""

    def find() -> Any:
        from csi_cinderlib.cinder.runtime import load_cinder

        load_cinder()
        from cinder import objects

        return getattr(objects, name)

    return Late(find)


def context() -> Any:
    """Cinder's administrator context, which drivers get as the caller's context."""
    from csi_cinderlib.cinder import convert, runtime

    runtime.load_cinder()
    return convert.admin_context()


def backend_class() -> type[Backend]:
    return default.library_class()._backend_class
