"""What commands print: lines, and lists for people and for programs.

Names and messages come from arrays and from clusters, so what a terminal would act on is shown escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import IO

from csi_cinderlib.observe.logs import escape_controls

Row = dict[str, object]
CHUNK = 1000
"""Rows of a table that are aligned at one time; what comes later makes columns wider, not narrower."""


def print_text(text: str, file: IO[str] | None = None, *, flush: bool = False) -> None:
    """Print one line or several at once, to standard output unless `file` is given."""
    print(escape_controls(text), file=file, flush=flush)


def print_list(rows: Iterable[Row], *, as_json: bool, nothing: str) -> None:
    """Print a table, or JSON: one object a line; `nothing` says that there are none. Rows are printed as they come."""
    if as_json:
        for row in rows:
            print_text(json.dumps(row, ensure_ascii=False))
        return
    remaining = iter(rows)
    chunk = list(islice(remaining, CHUNK))
    if not chunk:
        print_text(nothing)
        return
    lines = [[str(key).upper().replace("_", " ") for key in chunk[0]]]
    widths = [0] * len(lines[0])
    while chunk:
        lines += [[_cell(value) for value in row.values()] for row in chunk]
        widths = [max(width, *map(len, column)) for width, column in zip(widths, zip(*lines, strict=True), strict=True)]
        for line in lines:
            print_text("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        lines, chunk = [], list(islice(remaining, CHUNK))


def _cell(value: object) -> str:
    """A value in a table: on one line, and as wide as it is shown."""
    return escape_controls(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def moment(text: str) -> str:
    """A record's time without fractions of a second."""
    return f"{text.partition('.')[0]}Z" if "." in text else text
