"""`csi-cinderlib get KIND [ID|NAME|CLAIM...]`: lists objects from the metadata store and the running driver."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import opening, options, output
from csi_cinderlib.commands.output import Column
from csi_cinderlib.errors import InvalidRequest

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.inspection.lists import Filter

Rows = Iterator[Mapping[str, Any]]
UNREADABLE = "unreadable"
PAGE = 2001
"""Rows that are read before the first is printed: the limit for sorting plus one."""


def _nodes(row: Any) -> list[str]:
    """Node names, each with the state of its attachment unless that is available."""
    states = {attachment["node"]: attachment["status"] for attachment in row.get("attachments", ())}
    return [node if state == "available" else f"{node}({state})" for node, state in states.items()]


def _place(row: Any) -> str:
    return f"{row['backend']}#{row['pool']}" if row.get("pool") else str(row.get("backend", ""))


def _since(row: Any) -> str:
    return output.moment(str(row.get("created_at", "")))


@dataclass(frozen=True, slots=True)
class _List:
    """One kind of list.

    Attributes:
        filters: its options, by their keys in _FILTERS.
    """

    help: str
    filters: tuple[str, ...]
    columns: tuple[str | Column, ...]
    wide: tuple[str | Column, ...] = ()

    @property
    def is_sorted(self) -> bool:
        return "age" in self.columns


STATUSES = (
    "creating",
    "importing",
    "available",
    "extending",
    "deleting",
    "unmanaging",
    "adopting",
    "returning",
    "returned",
    "error",
    UNREADABLE,
)

_FILTERS: Mapping[str, tuple[str, str, str]] = {
    "backends": ("--backend", "NAME", "Only on this back end."),
    "pools": ("--pool", "NAME", "Only in this pool."),
    "statuses": ("--status", "STATUS", f"Only with this status: {', '.join(STATUSES)}."),
    "nodes": ("--node", "NAME", "Only on this node."),
    "claims": ("--claim", "NAMESPACE/NAME", "Only for this claim."),
    "namespaces": ("--namespace", "NAME", "Only for claims in this namespace."),
}

_OF_RECORDS = ("backends", "statuses")
_SINCE = Column("created_at", _since)

LISTS: Mapping[str, _List] = {
    "backends": _List(
        "List the back ends: driver, state, capacity and number of volumes.",
        (),
        ("name", "state", "protocol", "total_gib", "free_gib", "volumes", "reason"),
        ("driver", "restarts", "pools"),
    ),
    "volumes": _List(
        "List the volumes.",
        (*_OF_RECORDS, "pools", "nodes", "claims", "namespaces"),
        ("id", "claim", "gib", "status", Column("place", _place), Column("nodes", _nodes), "age", "message"),
        ("name", "type", "source", "array_name", "array_id", _SINCE, "owner"),
    ),
    "snapshots": _List(
        "List the snapshots.",
        (*_OF_RECORDS, "claims", "namespaces"),
        ("id", "claim", "volume", "gib", "status", "backend", "age", "message"),
        ("name", "group_snapshot", "array_name", "array_id", _SINCE, "owner"),
    ),
    "groups": _List(
        "List the volume groups.",
        _OF_RECORDS[:1],
        ("id", "status", "backend", "volumes", "age", "name"),
        ("consistent", _SINCE, "owner"),
    ),
    "group-snapshots": _List(
        "List the group snapshots.",
        _OF_RECORDS,
        ("id", "status", "backend", "snapshots", "age", "message"),
        ("name", "group", "volumes", _SINCE, "owner"),
    ),
    "attachments": _List(
        "List the attachments of volumes to nodes.",
        (*_OF_RECORDS, "nodes", "claims", "namespaces"),
        ("id", "volume", "claim", "node", "status", "backend", "age", "message"),
        ("protocol", "access_mode", "read_only", "block", _SINCE, "owner"),
    ),
    "nodes": _List(
        "List the nodes.",
        (),
        ("host", "attachments", "registered", "multipath", "ip", "iscsi"),
        ("id", "fibre_channel", "nvme", "has_key", "topology"),
    ),
    "orphans": _List(
        "List work that interrupted calls left unfinished.",
        (*_OF_RECORDS, "nodes", "claims", "namespaces"),
        (
            "id",
            "kind",
            "status",
            "backend",
            "node",
            "claim",
            Column("due", lambda row: "now" if row["due"] else "not yet"),
            "age",
            "reason",
        ),
        (Column("name", lambda row: row["name"] or row["volume_id"]), _SINCE, "owner", "fix", "instead"),
    ),
}


@click.group()
def command() -> None:
    """Group with one command per kind."""


def print_list(kind: str, settings: Settings, format: output.Format, wanted: Filter) -> int:
    """Print a list. Return 1 if a record cannot be read. Raises InvalidRequest: no object matches the words."""
    listing, unreadable = LISTS[kind], 0

    def counted(rows: Rows) -> Rows:
        nonlocal unreadable
        for row in rows:
            unreadable += row.get("status") == UNREADABLE
            yield row

    with ExitStack() as open_store:
        found = counted(rows(kind, settings, open_store.enter_context(opening.reading(settings)), wanted))
        first = list(islice(found, PAGE))
        if len(first) < PAGE:
            open_store.close()  # a slow reader of the output must not hold the store's transaction
        if wanted.words and not first:
            raise InvalidRequest(kind, f"no match by id, name or claim for {', '.join(wanted.words)}")
        nothing = (
            f"no {kind.replace('-', ' ')}" if wanted == type(wanted)() else f"no matching {kind.replace('-', ' ')}"
        )
        output.print_rows(chain(first, found), format, columns=listing.columns, wide=listing.wide, nothing=nothing)
    return int(unreadable > 0)


def rows(kind: str, settings: Settings, store: Any, wanted: Filter) -> Rows:
    """The rows of one list, read from an open store."""
    from csi_cinderlib.inspection import lists
    from csi_cinderlib.model import times

    now = times.utc_now()
    if kind == "nodes":
        with opening.registry(settings, store) as registry:
            return lists.node_rows(store, registry, wanted)
    if kind == "backends":
        from csi_cinderlib.commands import backend_rows

        return (row for row in backend_rows.rows(settings, store) if wanted.accepts(row))
    if kind == "orphans":
        listed: Rows = lists.orphan_rows(opening.orphans(settings, store), wanted, now)
    else:
        source: Callable[[Any, Filter, Any], Rows] = getattr(lists, kind.replace("-", "_"))
        listed = source(store, wanted, now)
    ordered, is_sorted = lists.oldest_first(listed)
    if not is_sorted:
        output.print_text(
            f"more than {lists.SORTED} {kind}: sorted by id; narrow the list with --backend, --status or --namespace to "
            "sort it by age",
            sys.stderr,
        )
    return ordered


def no_filter() -> Filter:
    from csi_cinderlib.inspection.lists import Filter

    return Filter()


def listing_command(kind: str) -> click.Command:
    """The command for one of LISTS."""
    listing = LISTS[kind]

    def callback(given: options.Given, format: output.Format, **values: Any) -> int:
        from csi_cinderlib.inspection.lists import Filter

        return print_list(kind, options.settings(given), format, Filter(**values))

    decorated = options.configuration(output.formatted(callback))
    decorated = click.option("--error", "troubled", is_flag=True, help="Only failed objects.")(decorated)
    for name in reversed(listing.filters):
        flag, metavar, help = _FILTERS[name]
        accepted = click.Choice(STATUSES) if name == "statuses" else None
        decorated = click.option(flag, name, multiple=True, metavar=metavar, type=accepted, help=help)(decorated)
    decorated = click.argument("words", nargs=-1, metavar="[ID|NAME|CLAIM]...")(decorated)
    return click.command(kind, short_help=listing.help, help=listing.help)(decorated)


for _kind in LISTS:
    command.add_command(listing_command(_kind))
