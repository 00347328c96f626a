"""Conversion of single values to and from JSON. Values are checked on both, so that all stored values can be read back."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 64
"""Limit of nested objects and lists: far more than drivers return, and far less than Python's recursion limit."""


class WrongValue(Exception):
    """A value is not valid for its field. The message never contains the value, which may be a secret.

    Attributes:
        path: the field, dotted; "" for the object itself.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.path = path

    def inside(self, name: str) -> WrongValue:
        return WrongValue(str(self), f"{name}.{self.path}" if self.path else name)


@dataclass(frozen=True, slots=True)
class Coder:
    """Converts a type of value to JSON and back (both raise WrongValue), and has its JSON schema.

    `read` of a nested value returns a pair: the value, and the unknown parts of the JSON ({} if there are none).
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    schema: Mapping[str, Any]
    nested: bool = False


def word(value: object) -> str:
    """The JSON type of a value, for messages."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


def text(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise WrongValue(f"must be text, not {word(value)}")


def _flag(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise WrongValue(f"must be true or false, not {word(value)}")


def _number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise WrongValue(f"must be a whole number, not {word(value)}")


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise WrongValue(f"must be an object with text values, not {word(value)}")
    for key, item in value.items():
        if type(key) is not str or type(item) is not str:
            raise WrongValue(f"must be text, not {word(item)}", str(key))
    return dict(value)


def _anything(value: Any, depth: int) -> Any:
    """Copy a value to plain dicts and lists."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if depth > MAX_DEPTH:
        raise WrongValue(f"must not be nested more than {MAX_DEPTH} levels deep")
    if kind is float:
        if math.isfinite(value):
            return value
        raise WrongValue("must be a finite number")
    if isinstance(value, Mapping):
        return _object(value, depth)
    if isinstance(value, list | tuple):
        return [_anything(item, depth + 1) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    raise WrongValue(f"must be a JSON value, not {word(value)}")


def _object(value: Any, depth: int = 0) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongValue(f"must be an object, not {word(value)}")
    copy = {}
    for key, item in value.items():
        if type(key) is not str:
            raise WrongValue("must have text keys")
        try:
            copy[key] = _anything(item, depth + 1)
        except WrongValue as wrong:
            raise wrong.inside(key) from None
    return copy


SCALARS: Mapping[Any, Coder] = {
    str: Coder(text, text, {"type": "string"}),
    bool: Coder(_flag, _flag, {"type": "boolean"}),
    int: Coder(_number, _number, {"type": "integer"}),
    Mapping[str, str]: Coder(_texts, _texts, {"type": "object", "additionalProperties": {"type": "string"}}),
    Mapping[str, object]: Coder(_object, _object, {"type": "object", "additionalProperties": True}),
}


def choice(kind: type[enum.StrEnum]) -> Coder:
    """The coder of an enumeration."""
    members: dict[str, enum.StrEnum] = {member.value: member for member in kind}

    def read(value: Any) -> enum.StrEnum:
        try:
            return members[value]
        except (KeyError, TypeError):
            raise WrongValue(f"must be one of {', '.join(members)}") from None

    return Coder(lambda value: read(value).value, read, {"type": "string", "enum": list(members)})


def listing(item: Coder) -> Coder:
    """The coder of a tuple, which is a list in JSON. Unknown parts of nested items are kept by index."""
    write_item, read_item = item.write, item.read

    def write(value: Any) -> list[Any]:
        if type(value) is not tuple:
            raise WrongValue(f"must be a tuple, not {word(value)}")
        return [write_item(each) for each in value]

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise WrongValue(f"must be a list, not {word(value)}")
        items = [read_item(each) for each in value]
        if not item.nested:
            return tuple(items)
        return tuple([each for each, _ in items]), {str(index): left for index, (_, left) in enumerate(items) if left}

    return Coder(write, read, {"type": "array", "items": item.schema}, item.nested)
