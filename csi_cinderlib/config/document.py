"""Reads a configuration file as a tree: mappings, lists and the text of each scalar exactly as written.

YAML reads `012345` as 5349, `yes` as true and `12:30:45` as 45045. Here a scalar stays text; the Reader converts it by the type of the
setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from csi_cinderlib.config.tree import Budget, Place, Scalar, Style, too_deep, whole
from csi_cinderlib.errors import ConfigurationError

LARGEST_FILE = 2**20
"""Bytes; also the limit of a Secret in Kubernetes."""
SUFFIXES = (".yaml", ".yml", ".json")

_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAKS = "\x85\u2028\u2029"
_BOM = b"\xef\xbb\xbf"


def read(path: Path) -> object:
    """The content of a YAML or JSON file: dicts with Scalars as keys, lists, Scalars, and None for missing values.

    Raises:
        ConfigurationError: with the line, or the reason why the file cannot be read.
    """
    return parse(path, read_text(path))


def parse(path: Path, text: str) -> object:
    """The tree of a text from that file: JSON if its name says so, otherwise YAML."""
    if path.suffix == ".json":
        return _parse_json(path, text)
    from csi_cinderlib.config import yaml_text  # a slow import, needed for YAML only

    return yaml_text.parse(path, text)


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark. Raises ConfigurationError."""
    data = read_bytes(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ConfigurationError(str(path), "is in UTF-16; save it as UTF-8")
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            str(path), f"is not UTF-8: byte 0x{error.object[error.start]:02X} at line {line}"
        ) from None
    if found := _NOT_TEXT.search(text):
        _refuse_character(path, text, found.start())
    return text


def _refuse_character(path: Path, text: str, position: int) -> NoReturn:
    character, line = text[position], text.count("\n", 0, position) + 1
    hint = ", a line break in YAML" if character in _LINE_BREAKS else ""
    raise ConfigurationError(
        f"{path}:{line}",
        f"contains the character U+{ord(character):04X}{hint}; remove it, or write \\u{ord(character):04x} in double quotes",
    )


def read_bytes(path: Path) -> bytes:
    """Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path contains a NUL character"
        raise ConfigurationError(str(path), f"cannot be read: {reason}") from None
    if len(data) > LARGEST_FILE:
        raise ConfigurationError(str(path), f"must not be larger than {LARGEST_FILE // 1024} KiB")
    return data


def _parse_json(path: Path, text: str) -> object:
    if not text.strip():
        return None
    place = Place(path)

    def literal(written: str) -> Scalar:
        return Scalar(written, Style.LITERAL, place)

    def no_number(written: str) -> NoReturn:
        raise ConfigurationError(str(path), f"is not JSON: {written} is not a number")

    def without_duplicates(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
        seen: dict[str, object] = {}
        for key, value in pairs:
            if key in seen:
                raise ConfigurationError(str(path), f"the key {key!r} occurs twice; remove one")
            seen[key] = value
        return seen

    try:
        raw = json.loads(
            text,
            parse_int=literal,
            parse_float=literal,
            parse_constant=no_number,
            object_pairs_hook=without_duplicates,
        )
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}:{error.colno}", f"is not JSON: {error.msg}") from None
    except RecursionError:
        raise too_deep(path) from None
    return _with_place(raw, place, Budget(path), 0)


def _with_place(raw: object, place: Place, budget: Budget, depth: int) -> object:
    """As in the trees of `yaml_text`."""
    budget.spend("", depth)
    if isinstance(raw, dict):
        return {_text(key, place): _with_place(item, place, budget, depth + 1) for key, item in raw.items()}
    if isinstance(raw, list):
        return [_with_place(item, place, budget, depth + 1) for item in raw]
    if isinstance(raw, bool):
        return Scalar("true" if raw else "false", Style.LITERAL, place)
    return _text(raw, place) if type(raw) is str else raw


def _text(raw: str, place: Place) -> Scalar:
    try:
        return Scalar(whole(raw), place=place)
    except UnicodeDecodeError:
        raise ConfigurationError(str(place), "contains an unpaired surrogate") from None
