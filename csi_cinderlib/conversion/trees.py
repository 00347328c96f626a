"""YAML and JSON as trees of text: scalars keep the characters they were written with."""

from __future__ import annotations

import json
import re
from pathlib import Path

from csi_cinderlib.config import scalars, tree, yaml_text
from csi_cinderlib.errors import ConfigurationError

Tree = str | list["Tree"] | dict[str, "Tree"] | None

_NEXT_DOCUMENT = re.compile(r"^---(?=\s|$)", re.MULTILINE)


def parse(text: str, place: str) -> list[Tree]:
    """All documents of a YAML or JSON text.

    Raises:
        ConfigurationError: names the line, and quotes no value.
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
            before = "\n" * text[:start].count("\n")  # so that messages have the file's lines
            trees.append(_tree(yaml_text.parse(Path(place), before + text[start:end]), place, 0))
        start = end
    return trees


def parse_json(text: str, place: str) -> Tree:
    """One JSON text. Raises ConfigurationError."""
    try:
        return _tree(_loads(text, place), place, 0)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            place, f"is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise tree.too_deep(Path(place)) from None


def _loads(text: str, place: str) -> object:
    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ConfigurationError(place, "has a key twice in one mapping")
        return dict(pairs)

    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=mapping)


def _tree(value: object, place: str, depth: int) -> Tree:
    """Plain text, with JSON's switches as text."""
    if depth > tree.DEEPEST:
        raise tree.too_deep(Path(place))
    if isinstance(value, dict):
        return {str(key): _tree(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_tree(item, place, depth + 1) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None or scalars.is_null(value) else str(value)
