"""Key-values of users: any key and value that JSON can represent, kept with their types."""

from __future__ import annotations

import json
from typing import Any

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records

_TYPED = records.OWN_KEYS + "json:"
"""Start of a stored value that is a JSON object with the key and the value. Ordinary text is stored as it is."""


class KeyValue:
    """A named value for users of the library.

    Args:
        key: text, or another JSON value.
        value: text, or another JSON value: a number, a boolean, None, a list, or a dictionary with text keys.
    """

    def __init__(self, key: Any = None, value: Any = None) -> None:
        self.key = key
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyValue) and (self.key, self.value) == (other.key, other.value)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<cinderlib.KeyValue {self.key}>"


def to_record(key_value: KeyValue) -> records.KeyValue:
    """Raises InvalidRequest: the key or the value is not a JSON value."""
    key, value = key_value.key, key_value.value
    if key is None:
        raise InvalidRequest("key", "must not be None")
    if type(key) is str and type(value) is str and not value.startswith(_TYPED):
        return records.KeyValue(id=key, value=value)
    text = json.dumps({"key": _checked("key", key), "value": _checked("value", value)}, sort_keys=True)
    return records.KeyValue(id=str(key), value=_TYPED + text)


def from_record(record: records.KeyValue) -> KeyValue:
    if not record.value.startswith(_TYPED):
        return KeyValue(record.id, record.value)
    try:
        typed = json.loads(record.value.removeprefix(_TYPED))
        return KeyValue(typed["key"], typed["value"])
    except (ValueError, KeyError, TypeError):  # of another program
        return KeyValue(record.id, record.value)


def for_plugin(record: records.KeyValue) -> KeyValue:
    """The key-value as a persistence plugin stores it: with its type, but with a text as the key."""
    natural = from_record(record)
    is_same = isinstance(natural.key, str) and to_record(natural).value == record.value
    return natural if is_same and not _is_typed(natural.value) else KeyValue(record.id, record.value)


def from_plugin(key_value: KeyValue) -> records.KeyValue:
    """The reverse of `for_plugin`. Raises InvalidRequest for a value that JSON cannot represent."""
    if _is_typed(key_value.value):
        return records.KeyValue(id=str(key_value.key), value=key_value.value)
    return to_record(key_value)


def _is_typed(value: object) -> bool:
    return isinstance(value, str) and value.startswith(_TYPED)


def _checked(name: str, value: Any) -> Any:
    """The value, if JSON returns it unchanged; a tuple, for example, would become a list."""
    try:
        is_same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        is_same = False
    if not is_same:
        kind = type(value).__name__
        raise InvalidRequest(name, f"must be text or another JSON value (got {kind}); encode it as text")
    return value
