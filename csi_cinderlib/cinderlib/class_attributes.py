"""Attributes that cinderlib's classes have once it is set up: here they look at the set-up, and at Cinder only when they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csi_cinderlib.cinderlib import default


class OfSetUp:
    """An attribute of the set-up: of an object its own, of the class the process-wide one. Looking makes none.

    Args:
        name: of the `Library`.
        before: what it is while there is no set-up.
    """

    def __init__(self, name: str, before: Any = None) -> None:
        self._name = name
        self._before = before

    def __get__(self, one: Any, _owner: type) -> Any:
        library = default.current() if one is None else one._library
        return self._before if library is None else getattr(library, self._name)


class Late:
    """An attribute that is imported when it is first looked at."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __get__(self, _one: object, _owner: type) -> Any:
        return self._find()


def ovo_class(name: str) -> Late:
    """A class of Cinder's versioned objects."""

    def find() -> Any:
        from csi_cinderlib.cinder.runtime import load_cinder

        load_cinder()
        from cinder import objects

        return getattr(objects, name)

    return Late(find)


def context() -> Any:
    """Cinder's context of an administrator, which drivers take for whoever asks."""
    from csi_cinderlib.cinder import convert, runtime

    runtime.load_cinder()
    return convert.admin_context()


def backend_class() -> Any:
    return default.library_class()._backend_class
