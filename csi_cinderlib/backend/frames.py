"""What two processes of this program say to each other, as bytes: our own types and plain data, nothing else.

So whoever reads a frame imports nothing for it. A driver answers with types of its own now and then; those that are text, numbers,
mappings or lists arrive as such.
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
    """A value of a type that the other process does not know."""


class _Pickler(pickle.Pickler):
    """Python's own types do not pass through here."""

    def reducer_override(self, value: Any) -> Any:
        kind: type = type(value)
        if defaults := _defaults(kind):
            return _made, (kind, _changed(value, defaults))
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
    """The fields of a dataclass of ours, with the default of each; of another type none. `pickle` asks for them each time."""
    if not (dataclasses.is_dataclass(kind) and kind.__module__.startswith(_OURS)):
        return {}
    return {field.name: field.default for field in dataclasses.fields(kind)}


def _changed(value: object, defaults: Mapping[str, object]) -> dict[str, Any]:
    """The fields of a dataclass that are not left at their defaults: of a record, half of them are."""
    return {name: item for name, default in defaults.items() if (item := getattr(value, name)) is not default}


def _made(kind: type, values: Mapping[str, Any]) -> Any:
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
    """What `dump` was given."""
    return _Unpickler(io.BytesIO(data)).load()


def plain(value: object) -> Any:
    """The value as it can be sent: what is of no known type as its text. For what only people and reports look at."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | Set):
        return [plain(item) for item in value]
    if isinstance(value, _PLAIN):
        return value
    return str(value)
