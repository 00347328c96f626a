"""Converts scalars by the type of their setting. Options of Cinder keep the text."""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from csi_cinderlib.config.near import unknown
from csi_cinderlib.config.tree import Scalar, Style
from csi_cinderlib.errors import ConfigurationError

OPTION_TYPES = Path(__file__).with_name("option_types.json")
"""Names of all options of Cinder's drivers that are numbers or switches, by type. Generated from the catalogue of drivers."""
_NAMES: Mapping[type, str] = MappingProxyType(
    {
        str: "text",
        Scalar: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "a path",
        dict: "a mapping",
        list: "a list",
    }
)
_NULL = frozenset({"~", "null", "Null", "NULL"})
_BOOLS: Mapping[str, bool] = MappingProxyType(
    {
        spelling: meaning
        for words, meaning in ((("true", "yes", "on"), True), (("false", "no", "off"), False))
        for word in words
        for spelling in (word, word.title(), word.upper())
    }
)
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]{0,99})(\.[0-9]{0,99})?|\.[0-9]{1,99})([eE][-+]?[0-9]{1,3})?")
_LIKE_A_NUMBER = re.compile(r"[-+]?\.?[0-9]")
_NOT_TEXT = "must be text; put it in quotes"


def convert(kind: type, raw: object, path: str) -> Any:
    """The value for a setting of that type. Raises ConfigurationError without the value, which may be a password."""
    if isinstance(raw, Scalar) and kind in (int, float, bool):
        return _parsed(kind, raw, path)
    if issubclass(kind, enum.Enum):
        choices = [item.value for item in kind]
        if raw not in choices:
            raise ConfigurationError(path, unknown("value", str(raw), choices) + place(raw))
        return kind(raw)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if kind in (str, Path) and isinstance(raw, str):
        return kind(text(raw, path))
    if not isinstance(raw, kind) or (kind is int and isinstance(raw, bool)):
        raise wrong(kind, raw, path)
    return raw


def _parsed(kind: type, raw: Scalar, path: str) -> bool | int | float:
    if raw.style is Style.QUOTED or is_null(raw):
        raise wrong(kind, raw, path)
    if kind is bool and raw in _BOOLS:
        return _BOOLS[raw]
    if kind is int and _WHOLE.fullmatch(raw):
        return int(raw)
    if kind is float and _NUMBER.fullmatch(raw) and math.isfinite(float(raw)):
        return float(raw)
    if kind is not bool and _LIKE_A_NUMBER.match(raw):
        raise ConfigurationError(path, f"must be {_NAMES[kind]} in decimal digits, without leading zeros{place(raw)}")
    raise wrong(kind, raw, path)


def text(raw: object, path: str) -> str:
    """The text as written. Raises ConfigurationError for a missing value, and for a number of JSON."""
    if isinstance(raw, str) and not is_null(raw) and not (isinstance(raw, Scalar) and raw.style is Style.LITERAL):
        if "\0" in raw:
            raise ConfigurationError(path, f"contains a NUL character{place(raw)}")
        return str(raw)
    if raw is None:
        raise ConfigurationError(path, 'has no value; write "" for an empty text')
    raise wrong(str, raw, path)


def option(name: str, raw: object, path: str) -> str:
    """The text of an option of Cinder. Numbers of JSON are accepted only for numeric options: for others, another program may
    have read `012345` as 5349.

    Raises:
        ConfigurationError: the original text is uncertain.
    """
    if isinstance(raw, bool):
        raw = Scalar("true" if raw else "false", Style.LITERAL)
    elif isinstance(raw, int | float):
        raw = Scalar(repr(raw), Style.LITERAL)
    if not isinstance(raw, Scalar) or raw.style is not Style.LITERAL:
        return text(raw, path)
    wanted = _option_types().get(name)
    fits = (
        (wanted == "true or false" and raw in _BOOLS)
        or (wanted == "whole number" and _WHOLE.fullmatch(raw))
        or (wanted == "number" and _NUMBER.fullmatch(raw))
    )
    if not fits:
        raise ConfigurationError(path, _NOT_TEXT + place(raw))
    return str(raw)


@cache
def _option_types() -> Mapping[str, str]:
    types: Mapping[str, list[str]] = json.loads(OPTION_TYPES.read_text())
    return {name: type for type, names in types.items() for name in names}


def guessed(raw: object) -> object:
    """For trees of unknown types: unambiguous scalars become numbers or bools."""
    if isinstance(raw, dict):
        return {str(key): guessed(value) for key, value in raw.items()}
    if isinstance(raw, list):
        return [guessed(item) for item in raw]
    return _guess(raw) if isinstance(raw, Scalar) else raw


def _guess(raw: Scalar) -> object:
    if raw.style not in (Style.PLAIN, Style.LITERAL):
        return str(raw)
    if raw in ("true", "false"):
        return raw == "true"
    if _WHOLE.fullmatch(raw) and str(int(raw)) == raw:
        return int(raw)
    if _NUMBER.fullmatch(raw) and repr(float(raw)) == raw:
        return float(raw)
    return None if is_null(raw) else str(raw)


def is_null(raw: object) -> bool:
    """Whether YAML reads it as null."""
    return isinstance(raw, Scalar) and raw.style is Style.PLAIN and raw in _NULL


def wrong(wanted: type, raw: object, path: str) -> ConfigurationError:
    """An error with the type, without the value, which may be a misplaced password."""
    given, hint = _NAMES.get(type(raw), type(raw).__name__), ""
    if raw is None:
        given = "nothing"
    elif is_null(raw):
        given, hint = "null", "; remove the key, or put the word in quotes"
    elif wanted is str and isinstance(raw, int | float | bool | Scalar):
        given, hint = "a number, true or false" if isinstance(raw, Scalar) else given, "; put it in quotes"
    return ConfigurationError(
        path or "the settings", f"must be {_NAMES.get(wanted, wanted.__name__)}, not {given}{hint}{place(raw)}"
    )


def place(raw: object) -> str:
    """The file and line, for the end of a message; "" if unknown."""
    return f" ({raw.place})" if isinstance(raw, Scalar) and raw.place else ""
