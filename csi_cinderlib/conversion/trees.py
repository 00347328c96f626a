"""Reads YAML and JSON as trees of text, with scalars exactly as written."""

from __future__ import annotations

import json
import re
from pathlib import Path

from csi_cinderlib.config import scalars, tree, yaml_text
from csi_cinderlib.errors import ConfigurationError

Tree = str | list["Tree"] | dict[str, "Tree"] | None

_NEXT_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)


def parse(text: str, place: str) -> list[Tree]:
    """The documents of a YAML or JSON text.

    Raises:
        ConfigurationError: with the line, without values.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [_tree(_loads(text, place), place, 0)]
        except json.JSONDecodeError:
            pass  # it may be YAML in flow style
        except RecursionError:
            raise tree.too_deep(Path(place)) from None
    trees: list[Tree] = []
    start = 0
    for end in [*(found.start() for found in _NEXT_DOCUMENT.finditer(text)), len(text)]:
        if text[start:end].strip():
            before = "\n" * text[:start].count("\n")  # keeps the file's line numbers in messages
            trees.append(_tree(yaml_text.parse(Path(place), before + text[start:end]), place, 0))
        start = end
    return trees


def parse_json(text: str, place: str) -> Tree:
    """One JSON text. Raises ConfigurationError."""
    try:
        return _tree(_loads(text, place), place, 0)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            place, f"line {error.lineno}, column {error.colno} is not valid JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise tree.too_deep(Path(place)) from None


def _loads(text: str, place: str) -> object:
    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ConfigurationError(place, "a key occurs twice in a mapping; remove one")
        return dict(pairs)

    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=mapping)


def _tree(value: object, place: str, depth: int) -> Tree:
    """The tree as text, with JSON's true and false as text."""
    if depth > tree.DEEPEST:
        raise tree.too_deep(Path(place))
    if isinstance(value, dict):
        return {str(key): _tree(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_tree(item, place, depth + 1) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None or scalars.is_null(value) else str(value)
