"""Docstrings in Google's style, for the generated pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.generate.markdown import one_line


@dataclass(frozen=True, slots=True)
class Docstring:
    """A parsed docstring.

    Attributes:
        prose: all before the first section.
        sections: the items of `Args`, `Returns`, `Raises` and `Attributes`, each on one line.
    """

    prose: str
    sections: Mapping[str, list[str]]

    @property
    def summary(self) -> str:
        return one_line(self.prose.partition("\n\n")[0])

    @property
    def attributes(self) -> Mapping[str, str]:
        """The meaning of each attribute, by name."""
        split = (item.partition(": ") for item in self.sections.get("Attributes", ()))
        return {name: meaning for name, _, meaning in split}

    def to_markdown(self) -> str:
        """The prose, then each section as a list."""
        parts = [self.prose, *(_to_list(title, items) for title, items in self.sections.items())]
        return "\n\n".join(part for part in parts if part)


def parse(documented: object) -> Docstring:
    """The docstring of a class, function or property."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    items: list[str] | None = None
    for line in (inspect.getdoc(documented) or "").splitlines():
        if title := re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            items = sections.setdefault(title[1], [])
        elif items is None:
            prose.append(line)
        elif line.startswith("        "):
            items[-1] += " " + line.strip()
        elif line:
            items.append(line.strip())
    return Docstring("\n".join(prose).strip(), sections)


def _to_list(title: str, items: list[str]) -> str:
    lines = []
    for item in items:
        name, colon, meaning = item.partition(": ")
        lines.append(f"- `{name}`: {meaning}" if colon else f"- {item}")
    return "\n".join([f"*{title}*:", "", *lines])
