"""Trees of settings: dicts with Scalars as keys, lists, Scalars, and None for missing values."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path

from csi_cinderlib.errors import ConfigurationError

LARGEST = 2**25
"""Limit of a tree in characters, with all aliases expanded and NODE characters per node."""
NODE = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
DEEPEST = 50
"""Limit of nested lists and mappings."""


class Style(enum.Enum):
    """The notation of a scalar."""

    PLAIN = "without quotes, in YAML"
    QUOTED = "in quotes or as a block"
    LITERAL = "a number, true or false of JSON"
    ELSEWHERE = "in another file or in the environment"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file. `line` is 0 if unknown."""

    file: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


class Scalar(str):
    """The text of a scalar or key as written."""

    __slots__ = ("place", "style")
    style: Style
    place: Place | None

    def __new__(cls, text: str, style: Style = Style.QUOTED, place: Place | None = None) -> Scalar:
        value = super().__new__(cls, text)
        value.style, value.place = style, place
        return value


class Budget:
    """Limits the size of a tree: a few lines of aliases can expand to gigabytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = LARGEST

    def spend(self, text: str, depth: int) -> None:
        """Account for one node. Raises ConfigurationError."""
        self._left -= NODE + len(text)
        if self._left < 0:
            raise ConfigurationError(str(self._path), "is too large with its aliases expanded; use fewer aliases")
        if depth > DEEPEST:
            raise too_deep(self._path)


def whole(text: str) -> str:
    """The text with each surrogate pair as one character: PyYAML leaves JSON's escapes as pairs. Raises UnicodeDecodeError for half of a pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16") if _SURROGATE.search(text) else text


def too_deep(path: Path) -> ConfigurationError:
    return ConfigurationError(str(path), f"must not be nested more than {DEEPEST} levels deep")
