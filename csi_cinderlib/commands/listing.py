"""Lists for people, and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice

Row = dict[str, object]
CHUNK = 1000
"""Rows of a table that are aligned at one time; what comes later makes columns wider, not narrower."""


def show(rows: Iterable[Row], *, as_json: bool, nothing: str) -> None:
    """Print a table, or JSON: one object a line; `nothing` says that there are none. Rows are printed as they come."""
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    remaining = iter(rows)
    chunk = list(islice(remaining, CHUNK))
    if not chunk:
        print(nothing)
        return
    lines = [[str(key).upper().replace("_", " ") for key in chunk[0]]]
    widths = [0] * len(lines[0])
    while chunk:
        lines += [[str(value) for value in row.values()] for row in chunk]
        widths = [max(width, *map(len, column)) for width, column in zip(widths, zip(*lines, strict=True), strict=True)]
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        lines, chunk = [], list(islice(remaining, CHUNK))


def moment(text: str) -> str:
    """A record's time without fractions of a second."""
    return f"{text.partition('.')[0]}Z" if "." in text else text
