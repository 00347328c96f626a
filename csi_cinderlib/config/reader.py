"""From plain YAML values to the frozen dataclasses of `settings`: by their type hints, with the key path in every error."""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from csi_cinderlib.config.near import unknown
from csi_cinderlib.errors import ConfigurationError

T = TypeVar("T")

_NAMES: Mapping[type, str] = MappingProxyType(
    {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "a path",
        dict: "a mapping",
        list: "a list",
    }
)


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


class Reader:
    """Reads one tree of values.

    Args:
        environment: where `{env: NAME}` is looked up.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def record(self, kind: type[T], raw: object, path: str, **given: object) -> T:
        """Make a `kind` of the mapping `raw`; `given` are fields that the mapping must not hold.

        Raises:
            ConfigurationError: an unknown or missing key, or a value of the wrong type.
        """
        values = dict(given)
        fields = {item.name: item for item in dataclasses.fields(kind) if item.name not in given}  # type: ignore[arg-type]  # always a dataclass
        for key, value in self.mapping(raw, path).items():
            if key not in fields:
                raise ConfigurationError(_join(path, key), unknown("key", key, fields))
            values[key] = self.value(_hints(kind)[key], value, _join(path, key))
        for name, item in fields.items():
            if name not in values and item.default is item.default_factory is dataclasses.MISSING:
                raise ConfigurationError(_join(path, name), "is missing")
        return kind(**values)

    def value(self, hint: Any, raw: object, path: str) -> object:
        """The value that a field with this type hint takes."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is tuple:
            return self._several(arguments[0], raw, path)
        if origin is Mapping:
            return self._named(arguments[1], raw, path)
        if dataclasses.is_dataclass(hint):
            return self.record(hint, raw, path)  # type: ignore[arg-type]  # a class, never an instance
        return _scalar(hint, self.resolve(raw, path), path)

    def _several(self, kind: Any, raw: object, path: str) -> tuple[object, ...]:
        """A mapping by name where the records have one, else a list."""
        if dataclasses.is_dataclass(kind) and "name" in _hints(kind):
            return tuple(self._named(kind, raw, path).values())
        if not isinstance(raw, list):
            raise _wrong(list, raw, path)
        return tuple(self.value(kind, item, f"{path}[{index}]") for index, item in enumerate(raw))

    def _named(self, kind: Any, raw: object, path: str) -> dict[str, object]:
        items = self.mapping(raw, path)
        if kind is object:
            return {key: self.resolve(value, _join(path, key)) for key, value in items.items()}
        if dataclasses.is_dataclass(kind):
            return {
                key: self.record(kind, value, _join(path, key), name=key)  # type: ignore[arg-type]  # a class, never an instance
                for key, value in items.items()
            }
        return {key: self.value(kind, value, _join(path, key)) for key, value in items.items()}

    def mapping(self, raw: object, path: str) -> dict[str, object]:
        """An empty section counts as an empty mapping."""
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            raise _wrong(dict, raw, path)
        for key in raw:
            if not isinstance(key, str):
                raise ConfigurationError(_join(path, str(key)), f"the key must be text; put quotes around {key!r}")
        return raw

    def resolve(self, raw: object, path: str) -> object:
        """The value itself, or what `{file: PATH}` or `{env: NAME}` stands for (less one trailing newline)."""
        if not isinstance(raw, dict) or len(raw) != 1 or not raw.keys() <= {"file", "env"}:
            return raw
        ((kind, where),) = raw.items()
        if not isinstance(where, str):
            raise _wrong(str, where, _join(path, kind))
        if kind == "env":
            if where not in self._environment:
                raise ConfigurationError(path, f"the environment variable {where} is not set")
            return self._environment[where]
        try:
            return Path(where).read_text().removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "it is not text"
            raise ConfigurationError(path, f"cannot read the file {where}: {reason}") from None


def _scalar(kind: type, raw: object, path: str) -> object:
    if issubclass(kind, enum.Enum):
        return _choice(kind, raw, path)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if kind is Path and isinstance(raw, str):
        return Path(raw)
    if not isinstance(raw, kind) or (kind is int and isinstance(raw, bool)):
        raise _wrong(kind, raw, path)
    return raw


def _choice(kind: type[enum.Enum], raw: object, path: str) -> enum.Enum:
    choices = [item.value for item in kind]
    if raw not in choices:
        raise ConfigurationError(path, unknown("value", str(raw), choices))
    return kind(raw)


def _wrong(wanted: type, raw: object, path: str) -> ConfigurationError:
    """Says the type only, never the value: it may be a password in the wrong place."""
    given = "nothing" if raw is None else _NAMES.get(type(raw), type(raw).__name__)
    hint = "; put it in quotes" if wanted is str and isinstance(raw, (int, float, bool)) else ""
    return ConfigurationError(
        path or "the settings", f"must be {_NAMES.get(wanted, wanted.__name__)}, not {given}{hint}"
    )


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
