"""What an examination says: one finding for each thing that was looked at."""

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
    """`NOTE` matters to some deployments only, `BAD` keeps something that is required from working, `UNKNOWN` could not be seen."""

    OK = "ok"
    NOTE = "note"
    UNKNOWN = "unknown"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: its name; several findings may have one name.
        detail: what was found.
        advice: what to do about it; "" if nothing.
    """

    level: Level
    what: str
    detail: str
    advice: str = ""

    def row(self) -> dict[str, object]:
        """As it is printed."""
        return {"level": str(self.level), "what": self.what, "detail": self.detail, "advice": self.advice}


def ok(what: str, detail: str) -> Finding:
    return Finding(Level.OK, what, detail)


def note(what: str, detail: str, advice: str = "") -> Finding:
    return Finding(Level.NOTE, what, detail, advice)


def unknown(what: str, detail: str, advice: str = "") -> Finding:
    return Finding(Level.UNKNOWN, what, detail, advice)


def problem(what: str, detail: str, advice: str = "", *, required: bool) -> Finding:
    """BAD where it must work, otherwise a note."""
    return Finding(Level.BAD if required else Level.NOTE, what, detail, advice)


def is_bad(findings: Iterable[Finding]) -> bool:
    return any(finding.level is Level.BAD for finding in findings)


def _said(row: output.Row) -> str:
    return "; advice: ".join(filter(None, (str(row["detail"]), str(row["advice"]))))


COLUMNS = ("what", "level", output.Column("finding", _said))


def levels(callback: options.Callback) -> options.Callback:
    """--level, as the argument `shown`: which findings are printed. The exit code does not depend on it."""
    return click.option(
        "--level",
        "shown",
        multiple=True,
        type=click.Choice([level.value for level in Level]),
        help="Print only findings of this level: ok, note, unknown or bad. May be repeated.",
    )(callback)


def print_findings(findings: Sequence[Finding], format: output.Format, shown: Sequence[str]) -> None:
    """On a terminal each line is wrapped, since a table would cut what to do."""
    rows = [finding.row() for finding in findings if not shown or finding.level.value in shown]
    if rows and format == output.Format() and sys.stdout.isatty():
        for line in wrapped(rows, shutil.get_terminal_size().columns):
            output.print_text(line)
        return
    nothing = f"no findings of level {' or '.join(shown)}"
    output.print_rows(rows, format, columns=COLUMNS, wide=("detail", "advice"), nothing=nothing)


def wrapped(rows: Sequence[output.Row], width: int) -> Iterator[str]:
    """The lines of a table, with its last column on as many lines as it needs."""
    cells = [("WHAT", "LEVEL", "FINDING"), *((str(row["what"]), str(row["level"]), _said(row)) for row in rows)]
    first, second = (max(len(line[column]) for line in cells) + 2 for column in (0, 1))
    room = max(width - first - second, _LEAST_ROOM)
    for what, level, said in cells:
        lines = textwrap.wrap(said, room, break_on_hyphens=False)
        yield f"{what:{first}}{level:{second}}{lines[0]}"
        yield from (f"{'':{first + second}}{line}" for line in lines[1:])


_LEAST_ROOM = 30
"""Columns of text; a terminal that is narrower breaks the lines itself."""
