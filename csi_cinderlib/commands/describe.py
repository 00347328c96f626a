"""`csi-cinderlib describe KIND ID`: one object with all its fields and related objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import get, opening, options, output
from csi_cinderlib.commands.output import Kind
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings

RECORDS = ("volume", "snapshot", "group", "group-snapshot", "attachment")
ROWS = ("backend", "node", "orphan")
"""Kinds without more detail than their list."""
_BRIEF = ("id", "name", "status", "node", "volume", "claim", "age", "message", "reason")
"""Fields shown of related objects, if not empty."""


@click.command(epilog="ID is an id or the beginning of one, a name, or a claim as NAMESPACE/NAME.")
@click.argument("kind", type=click.Choice([*RECORDS, *ROWS]))
@click.argument("id")
@options.configuration
@output.formatted
def command(given: options.Given, format: output.Format, kind: str, id: str) -> int:
    """Raises InvalidRequest: no object matches, or several do."""
    settings = options.settings(given)
    described = _record(settings, kind, id) if kind in RECORDS else _row(settings, kind, id)
    if format.kind in (Kind.JSON, Kind.YAML):
        output.print_object(described, format)
        return 0
    for line in lines(described):
        output.print_text(line)
    return 0


def _record(settings: Settings, kind: str, word: str) -> Mapping[str, Any]:
    from csi_cinderlib.inspection import description, lists
    from csi_cinderlib.model import times

    now, record = times.utc_now(), description.KINDS[kind]
    with opening.reading(settings) as store:
        row = one_of(description.matching(store, record, word, now), kind, word)
        described = description.describe(store, record, row["id"], now).as_row()
        orphans = lists.orphan_rows(opening.orphans(settings, store), lists.Filter(), now)
        found = [orphan for orphan in orphans if orphan["id"] == row["id"]]
    if found:
        described["related"]["orphans"] = found
    return described


def _row(settings: Settings, kind: str, word: str) -> Mapping[str, Any]:
    from csi_cinderlib.inspection.lists import Filter, names

    with opening.reading(settings) as store:
        rows = [row for row in get.rows(f"{kind}s", settings, store, Filter()) if names(dict(row), word)]
    return {"kind": kind, **one_of(rows, kind, word)}


def one_of(rows: Sequence[Mapping[str, Any]], kind: str, word: str) -> Mapping[str, Any]:
    """The only row, or the row with exactly that id. Raises InvalidRequest."""
    exact = [row for row in rows if word in (row.get("id", row.get("name")),)]
    if len(exact or rows) == 1:
        return (exact or rows)[0]
    if not rows:
        raise InvalidRequest(f"{kind} {word!r}", f"not found by id, name or claim; run `csi-cinderlib get {kind}s`")
    listed = "\n".join(f"  {_name(row)}" for row in rows)
    raise InvalidRequest(f"{kind} {word!r}", f"ambiguous; it matches:\n{listed}")


def _name(row: Mapping[str, Any]) -> str:
    shown = [str(row[key]) for key in ("id", "claim", "name", "status") if row.get(key)]
    return "  ".join(dict.fromkeys(shown))


def lines(described: Mapping[str, Any]) -> Iterator[str]:
    """The lines for a person. Empty fields are omitted."""
    fields = {name: value for name, value in described.items() if name != "related"}
    yield from _fields(fields, "")
    for title, rows in described.get("related", {}).items():
        yield ""
        yield f"{title[:1].upper()}{title[1:]}:"
        for row in rows:
            shown = (f"{name}={row[name]}" for name in _BRIEF[1:] if row.get(name))
            yield "  " + "  ".join([str(row.get("id", "")), *shown])


def _fields(fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    shown = {str(name): value for name, value in fields.items() if value not in ("", None, [], {}, ())}
    width = max(map(len, shown), default=0) + 2
    for name, value in shown.items():
        title = name.replace("_", " ") if not indent else name
        if isinstance(value, Mapping):
            if inner := list(_fields(value, indent + "  ")):
                yield from (f"{indent}{title}:", *inner)
        else:
            yield f"{indent}{title + ':':<{width}}{_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(inner)}" for name, inner in value.items())
    return str(value)
