"""Class attributes of cinderlib. Here they read the set-up, and import Cinder only when they are accessed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from csi_cinderlib.cinderlib import default

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

B = TypeVar("B", bound="Backend")


def _set(name: str) -> Callable[[Library, Any], None]:
    return lambda library, value: setattr(library, name, value)


class OfSetUp:
    """An attribute of the set-up: of the object's set-up, or for the class, of the process-wide one. Access creates no set-up.

    Args:
        name: the attribute of `Library`.
        before: the value while there is no set-up.
        change: carries out an assignment on the class; by default, it sets the attribute of `Library`.
    """

    def __init__(self, name: str, before: Any = None, *, change: Callable[[Library, Any], None] | None = None) -> None:
        self._name = name
        self._before = before
        self._change = change or _set(name)

    def __get__(self, instance: Any, _owner: type) -> Any:
        library = default.current() if instance is None else instance._library
        return self._before if library is None else getattr(library, self._name)

    def assign(self, value: Any) -> None:
        """An assignment on the class. Without a set-up it has no effect, because `setup` decides."""
        library = default.current()
        if library is not None:
            self._change(library, value)


class IsSetUp:
    """`global_initialization`: whether there is a set-up. After an assignment of False, `setup` may be called again."""

    def __get__(self, _instance: object, _owner: type) -> bool:
        return default.is_set_up()

    def assign(self, value: Any) -> None:
        default.allow_setup(not value)


class GlobalSetup:
    """`global_setup`: the function `setup`. On a derived class it also makes JSON load back ends of that class."""

    def __get__(self, _instance: object, owner: type) -> Callable[..., None]:
        if owner is default.library_class()._backend_class:
            return default.setup

        @functools.wraps(default.setup)
        def global_setup(*arguments: Any, **named: Any) -> None:
            default.setup(*arguments, **named)
            default.library()._backend_class = owner

        return global_setup


class BackendClass(type):
    """The class of `Backend`, for what cinderlib's users do with the class: assign to its attributes, and derive from it."""

    def __call__(cls: type[B], volume_backend_name: str, **driver_cfg: Any) -> B:  # type: ignore[misc]  # self is a class
        """The back end of that name, which is created on the first call."""
        return cast("B", default.library().backend_as(cls, volume_backend_name, driver_cfg))

    def __setattr__(cls, name: str, value: Any) -> None:
        attribute = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
        if isinstance(attribute, OfSetUp | IsSetUp) and not isinstance(value, OfSetUp | IsSetUp):
            attribute.assign(value)
        else:
            super().__setattr__(name, value)


class Late:
    """An attribute that is imported on access."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __get__(self, _instance: object, _owner: type) -> Any:
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
    """Cinder's administrator context, which drivers get as the caller's context."""
    from csi_cinderlib.cinder import convert, runtime

    runtime.load_cinder()
    return convert.admin_context()


def backend_class() -> Any:
    return default.library_class()._backend_class
