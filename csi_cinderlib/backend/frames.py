"""Messages between processes of this program as bytes: only csi-cinderlib's own types and plain data.

Reading a frame therefore imports no foreign module. Drivers sometimes return types of their own; subclasses of text, numbers,
mappings and lists are sent as the plain type.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import functools
import importlib
import io
import pickle
from collections.abc import Mapping, Set
from types import FunctionType
from typing import Any

from csi_cinderlib.model.making import maker

_OURS = "csi_cinderlib."
_PLAIN = (str, bool, int, float, bytes)
_BUILTINS = (*_PLAIN, dict, list)


class Unsendable(Exception):
    """The value's type is unknown to the other process."""


class _Pickler(pickle.Pickler):
    """Not called for Python's built-in types."""

    def reducer_override(self, value: Any) -> Any:
        kind: type = type(value)
        if defaults := _defaults(kind):
            return _built, (kind, _changed(value, defaults))
        source = value if isinstance(value, type | FunctionType) else kind
        if isinstance(value, enum.Enum) and source.__module__.startswith(_OURS):
            return source, (value.value,)
        if source.__module__.startswith(_OURS) or source in _BUILTINS:
            return NotImplemented
        return _as_plain(value)


def _as_plain(value: Any) -> tuple[Any, tuple[Any, ...]]:
    if isinstance(value, str):
        return str, (str.__str__(value),)
    if isinstance(value, bytes):
        return bytes, (bytes(value),)
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind, (kind(value),)
    if isinstance(value, Mapping):
        return dict, (list(value.items()),)
    if isinstance(value, list | tuple | Set):
        return list, (list(value),)
    raise Unsendable(f"cannot send a {type(value).__name__} to another process")


@functools.cache
def _defaults(kind: type) -> Mapping[str, object]:
    """The fields and defaults of one of our dataclasses; empty for other types. Cached, since `pickle` calls it for each object."""
    if not (dataclasses.is_dataclass(kind) and kind.__module__.startswith(_OURS)):
        return {}
    return {field.name: field.default for field in dataclasses.fields(kind)}


def _changed(value: object, defaults: Mapping[str, object]) -> dict[str, Any]:
    """The fields that differ from their defaults: about half of a record's fields."""
    return {name: item for name, default in defaults.items() if (item := getattr(value, name)) is not default}


def _built(kind: type, values: Mapping[str, Any]) -> Any:
    return maker(kind)(values)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _found(module, name)


@functools.cache
def _found(module: str, name: str) -> Any:
    if module.startswith(_OURS):
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))
    if module == "builtins" and (found := getattr(builtins, name, None)) in _BUILTINS:
        return found
    raise pickle.UnpicklingError(f"unknown type {module}.{name}")


def dump(value: object) -> bytes:
    """Raises Unsendable."""
    written = io.BytesIO()
    _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(value)
    return written.getvalue()


def load(data: bytes) -> Any:
    """The value passed to `dump`."""
    return _Unpickler(io.BytesIO(data)).load()


def plain(value: object) -> Any:
    """The value as plain data; other types as text. Only for data shown to people."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | Set):
        return [plain(item) for item in value]
    if isinstance(value, _PLAIN):
        return value
    return str(value)
