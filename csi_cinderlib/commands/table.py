"""Text tables, aligned and fitted to a terminal's width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

CHUNK = 1000
"""Rows that are aligned together. Later rows can only widen columns."""
GAP = "  "
SHORTEST, LEAST = 24, 8
"""Minimum width of the last column on a narrow terminal, in cells: while other columns can be hidden, and otherwise."""
CUT = "…"

Cells = Sequence[str]


@dataclass(slots=True)
class Table:
    """Aligns rows as they arrive.

    Attributes:
        limit: the terminal's width in cells, or None for full columns. If rows do not fit, the last column is cut first, then the
            columns before it are hidden, from the right. The first column is always shown.
        hidden: the hidden columns, set once the first line is formatted.
    """

    names: Cells
    limit: int | None = None
    headers: bool = True
    hidden: Cells = ()

    def lines(self, rows: Iterator[Cells]) -> Iterator[str]:
        chunk: list[Cells] = list(islice(rows, CHUNK))
        if not chunk:
            return
        if self.headers:
            chunk.insert(0, [name.upper().replace("_", " ") for name in self.names])
        widths = _widths(chunk, [0] * len(self.names))
        kept = _fitting(widths, self.limit)
        self.hidden = [name for index, name in enumerate(self.names) if index not in kept]
        while chunk:
            widths = _widths(chunk, widths)
            shown = [widths[index] for index in kept]
            last = shown[-1] if self.limit is None else max(_last(shown, self.limit), LEAST)
            for row in chunk:
                yield _line([row[index] for index in kept], [*shown[:-1], last])
            chunk = list(islice(rows, CHUNK))


def _fitting(widths: Sequence[int], limit: int | None) -> list[int]:
    """Indices of the columns to show."""
    kept = list(range(len(widths)))
    if limit is None:
        return kept
    while len(kept) > 2 and _last([widths[index] for index in kept], limit) < min(widths[-1], SHORTEST):
        del kept[-2]
    return kept


def _last(widths: Sequence[int], limit: int) -> int:
    """Width that remains for the last column."""
    return min(widths[-1], limit - sum(widths[:-1]) - len(GAP) * (len(widths) - 1))


def _line(row: Cells, widths: Sequence[int]) -> str:
    *first, last = row
    padded = [text + " " * (width - cells(text)) for text, width in zip(first, widths, strict=False)]
    return GAP.join((*padded, _cut(last, widths[-1]))).rstrip()


def _cut(text: str, width: int) -> str:
    if cells(text) <= width:
        return text
    while cells(text) >= width > 0:
        text = text[:-1]
    return text + CUT


def _widths(rows: Sequence[Cells], least: Sequence[int]) -> list[int]:
    columns = zip(*rows, strict=True)
    return [max(width, *map(cells, column)) for width, column in zip(least, columns, strict=True)]


def cells(text: str) -> int:
    """Width of the text in terminal cells."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(character) in ("W", "F") for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
