"""Output of commands: lines, and rows for people and programs.

Names and messages come from arrays and clusters, so terminal control characters are escaped.
"""

from __future__ import annotations

import enum
import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

import click

from csi_cinderlib.commands.table import Table
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.observe import standard_output
from csi_cinderlib.observe.controls import escape_controls

Row = Mapping[str, object]


class Kind(enum.StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Format:
    """How a command prints its rows.

    Attributes:
        columns: names of the columns to print; empty for the default columns.
        headers: print the header line of a table.
    """

    kind: Kind = Kind.TABLE
    columns: tuple[str, ...] = ()
    headers: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the row's value of that name, or the result of `value`."""

    name: str
    value: Callable[[Row], object] | None = None

    def of(self, row: Row) -> object:
        return row.get(self.name, "") if self.value is None else self.value(row)


def formatted(callback: Callable[..., int]) -> Callable[..., int]:
    """Add --output, --columns and --no-headers, passed as the argument `format`."""

    @functools.wraps(callback)
    def command(**values: Any) -> int:
        names = tuple(name.strip().lower() for name in (values.pop("columns") or "").split(",") if name.strip())
        kind = Kind(values.pop("output"))
        return callback(format=Format(kind, names, headers=not values.pop("no_headers")), **values)

    for option in (
        click.option("--no-headers", is_flag=True, help="Print a table without its header line."),
        click.option("--columns", metavar="NAMES", help="Print only these columns (names separated by commas)."),
        click.option(
            "-o",
            "--output",
            type=click.Choice([kind.value for kind in Kind]),
            default=Kind.TABLE.value,
            metavar="FORMAT",
            help="table, wide (all columns), name (one name per line), json or yaml (all fields, as one list). [default: table]",
        ),
    ):
        option(command)
    return command


def print_text(text: str, file: IO[str] | None = None, *, end: str = "\n", flush: bool = False) -> None:
    """Print one line or several at once, to standard output unless `file` is given."""
    with nullcontext() if file else standard_output.named():
        print(escape_controls(text), end=end, file=file, flush=flush)


def flush() -> None:
    """Flush standard output."""
    with standard_output.named():
        sys.stdout.flush()


def print_object(value: Mapping[str, object], format: Format) -> None:
    """Print one object, as YAML or JSON."""
    print_text(_yaml(dict(value)) if format.kind is Kind.YAML else _json(dict(value)))


def print_rows(
    rows: Iterable[Row],
    format: Format,
    *,
    columns: Sequence[str | Column],
    wide: Sequence[str | Column] = (),
    nothing: str,
) -> None:
    """Print rows as they arrive, in the memory of one chunk of a table.

    Args:
        rows: rows with all fields; JSON and YAML show all of them.
        columns: columns of a table, most important first. The first is the row's name. The last is free text, which may be cut on a
            terminal.
        wide: more columns for `wide` and for `--columns`.
        nothing: message on standard error for an empty table, such as "no volumes".

    Raises:
        InvalidRequest: there is no such column.
    """
    known = {column.name: column for column in map(_column, (*columns, *wide))}
    chosen = [_find(known, name) for name in format.columns]
    if format.kind is Kind.JSON:
        _print_json(_narrowed(rows, chosen))
    elif format.kind is Kind.YAML:
        _print_yaml(_narrowed(rows, chosen))
    elif format.kind is Kind.NAME:
        for row in rows:
            print_text(_cell(next(iter(known.values())).of(row)))
    else:
        shown = chosen or (list(known.values()) if format.kind is Kind.WIDE else [*map(_column, columns)])
        _print_table(rows, shown, format, nothing)


def _column(column: str | Column) -> Column:
    return Column(column) if isinstance(column, str) else column


def _find(known: Mapping[str, Column], name: str) -> Column:
    from csi_cinderlib.config.near import unknown

    if name not in known:
        raise InvalidRequest("--columns", unknown("column", name, known))
    return known[name]


def _narrowed(rows: Iterable[Row], columns: Sequence[Column]) -> Iterator[dict[str, object]]:
    for row in rows:
        yield {column.name: column.of(row) for column in columns} if columns else dict(row)


def _print_json(rows: Iterator[dict[str, object]]) -> None:
    """Print an array, one object per line."""
    first = next(rows, None)
    if first is None:
        print_text("[]")
        return
    before = "[\n"
    for row in chain([first], rows):
        print_text(before + _json(row), end="")
        before = ",\n"
    print_text("\n]")


def _print_yaml(rows: Iterator[dict[str, object]]) -> None:
    first = next(rows, None)
    if first is None:
        print_text("[]")
        return
    for row in chain([first], rows):
        print_text(_yaml([row]))


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text if _is_shown(text) else json.dumps(value, default=_plain)


def _yaml(value: object) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, but optional in PyYAML
    how: dict[str, Any] = {"Dumper": dumper, "sort_keys": False, "default_flow_style": False, "width": 100}
    plain = json.loads(json.dumps(value, default=_plain))
    text: str = yaml.dump(plain, allow_unicode=True, **how)
    return (text if _is_shown(text.replace("\n", "")) else yaml.dump(plain, **how)).removesuffix("\n")


def _plain(value: object) -> object:
    """A JSON type for a value of another type."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _is_shown(text: str) -> bool:
    """Whether the text has no control characters and fits the output's encoding."""
    return text.isprintable() and (text.isascii() or sys.stdout.encoding.lower() in ("utf-8", "utf8"))


def _print_table(rows: Iterable[Row], columns: Sequence[Column], format: Format, nothing: str) -> None:
    fits = format.kind is Kind.TABLE and not format.columns
    table = Table([column.name for column in columns], limit=_terminal() if fits else None, headers=format.headers)
    empty = True
    for line in table.lines([_cell(column.of(row)) for column in columns] for row in rows):
        print_text(line)
        empty = False
    if empty:
        print_text(nothing, sys.stderr)
    elif table.hidden:
        print_text(f"not shown: {', '.join(table.hidden)}; -o wide shows all columns", sys.stderr)


def _terminal() -> int | None:
    """Width of the terminal on standard output; None if it is not a terminal."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns


def _cell(value: object) -> str:
    """A value as one line of text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(_cell, value))
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    """Escape a character that is not printable, or that reorders or breaks a line."""
    return character if character.isprintable() else json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def moment(text: str) -> str:
    """A record's time, in whole seconds."""
    return f"{text.partition('.')[0]}Z" if "." in text else text
