"""Findings of an examination, one per checked item."""

from __future__ import annotations

import enum
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import click

from csi_cinderlib.commands import options, output


class Level(enum.StrEnum):
    """`NOTE` matters to some deployments only, `BAD` breaks a requirement, `UNKNOWN` could not be checked."""

    OK = "ok"
    NOTE = "note"
    UNKNOWN = "unknown"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        what: the checked item; several findings may have the same item.
        detail: the result.
        advice: the next step; "" if none.
    """

    level: Level
    what: str
    detail: str
    advice: str = ""

    def row(self) -> dict[str, object]:
        """The finding as an output row."""
        return {"level": str(self.level), "what": self.what, "detail": self.detail, "advice": self.advice}


def ok(what: str, detail: str) -> Finding:
    return Finding(Level.OK, what, detail)


def note(what: str, detail: str, advice: str = "") -> Finding:
    return Finding(Level.NOTE, what, detail, advice)


def unknown(what: str, detail: str, advice: str = "") -> Finding:
    return Finding(Level.UNKNOWN, what, detail, advice)


def problem(what: str, detail: str, advice: str = "", *, required: bool) -> Finding:
    """BAD if the item is required, otherwise a note."""
    return Finding(Level.BAD if required else Level.NOTE, what, detail, advice)


def is_bad(findings: Iterable[Finding]) -> bool:
    return any(finding.level is Level.BAD for finding in findings)


def _said(row: output.Row) -> str:
    return "; advice: ".join(filter(None, (str(row["detail"]), str(row["advice"]))))


COLUMNS = ("what", "level", output.Column("finding", _said))


def levels(callback: options.Callback) -> options.Callback:
    """Add --level, passed as `shown`: the levels to print. It does not change the exit code."""
    return click.option(
        "--level",
        "shown",
        multiple=True,
        type=click.Choice([level.value for level in Level]),
        help="Print only findings of this level: ok, note, unknown or bad. May be repeated.",
    )(callback)


def print_findings(findings: Sequence[Finding], format: output.Format, shown: Sequence[str]) -> None:
    """Print findings. Lines are wrapped on a terminal, where a table would cut the advice."""
    rows = [finding.row() for finding in findings if not shown or finding.level.value in shown]
    if rows and format == output.Format() and sys.stdout.isatty():
        for line in wrapped(rows, shutil.get_terminal_size().columns):
            output.print_text(line)
        return
    nothing = f"no findings of level {' or '.join(shown)}"
    output.print_rows(rows, format, columns=COLUMNS, wide=("detail", "advice"), nothing=nothing)


def wrapped(rows: Sequence[output.Row], width: int) -> Iterator[str]:
    """Lines of a table whose last column is wrapped."""
    cells = [("WHAT", "LEVEL", "FINDING"), *((str(row["what"]), str(row["level"]), _said(row)) for row in rows)]
    first, second = (max(len(line[column]) for line in cells) + 2 for column in (0, 1))
    room = max(width - first - second, _LEAST_ROOM)
    for what, level, finding in cells:
        lines = textwrap.wrap(finding, room, break_on_hyphens=False)
        yield f"{what:{first}}{level:{second}}{lines[0]}"
        yield from (f"{'':{first + second}}{line}" for line in lines[1:])


_LEAST_ROOM = 30
"""Minimum width of the last column. A narrower terminal wraps the lines itself."""
