"""Lists for people, and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

Row = dict[str, object]


def show(rows: Sequence[Row], *, as_json: bool, nothing: str) -> None:
    """Print a table, or JSON: one object a line; `nothing` says that there are none."""
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    if not rows:
        print(nothing)
        return
    cells = [
        [str(key).upper().replace("_", " ") for key in rows[0]],
        *([str(value) for value in row.values()] for row in rows),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def moment(text: str) -> str:
    """A record's time without fractions of a second."""
    return f"{text.partition('.')[0]}Z" if "." in text else text
