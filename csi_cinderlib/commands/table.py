"""Tables of text: aligned, and fitted to a terminal's width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

CHUNK = 1000
"""Rows that are aligned at one time; what comes later makes columns wider, not narrower."""
GAP = "  "
SHORTEST, LEAST = 24, 8
"""Cells that the last column keeps on a narrow terminal: while there are others to leave out, and else."""
CUT = "…"

Cells = Sequence[str]


@dataclass(slots=True)
class Table:
    """Aligns rows as they come.

    Attributes:
        limit: the terminal's width in cells, or None for all columns in full. What does not fit is taken from the last column, and then
            columns before it are left out, from the right. The first always stays.
        hidden: the columns left out, once the first line is made.
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
    """The columns that are shown."""
    kept = list(range(len(widths)))
    if limit is None:
        return kept
    while len(kept) > 2 and _last([widths[index] for index in kept], limit) < min(widths[-1], SHORTEST):
        del kept[-2]
    return kept


def _last(widths: Sequence[int], limit: int) -> int:
    """What remains for the last column."""
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
    """How many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(character) in ("W", "F") for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
