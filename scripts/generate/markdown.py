"""Markdown for the generated pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_PROSE = Path(__file__).with_name("prose")


def prose(name: str) -> str:
    """A hand-written part of a page."""
    return (_PROSE / f"{name}.md").read_text()


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table whose cells may contain `|`."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def escape(text: str) -> str:
    """Plain text on one line, without characters that Markdown would interpret."""
    return re.sub(r"([<>*_\[\]])", r"\\\1", one_line(text))


def one_line(text: str) -> str:
    return " ".join(text.split())
