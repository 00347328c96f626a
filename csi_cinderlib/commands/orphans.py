"""`csi-cinderlib orphans`: what an interrupted call left half done, or may have left on the array out of reach."""

from __future__ import annotations

import sys

import click

from csi_cinderlib.commands import options, output

COLUMNS = (
    output.Column("id"),
    output.Column("kind"),
    output.Column("status"),
    output.Column("backend"),
    output.Column("node"),
    output.Column("claim"),
    output.Column("name", lambda row: row["name"] or row["volume_id"]),
    output.Column("since", lambda row: output.moment(str(row["created_at"]))),
    output.Column("due", lambda row: "now" if row["due"] else "not yet"),
    output.Column("owner"),
    output.Column("reason"),
)


@click.command()
@click.option("--forget", metavar="ID", help="Forget what failed under this id, after you have looked at the array.")
@click.option(
    "--restored",
    is_flag=True,
    help="After an older copy of the metadata was restored, and before a controller starts: leave alone on the back ends "
    "what is half done in it.",
)
@options.configuration
@output.formatted
def command(given: options.Given, format: output.Format, forget: str | None, restored: bool) -> int:
    """0, whether there are any or not. Raises NotFound or PreconditionFailed when there is nothing to forget."""
    from dataclasses import asdict

    from csi_cinderlib.app import stores
    from csi_cinderlib.concurrency import KeyedLocks
    from csi_cinderlib.lifecycle.registry import Backends
    from csi_cinderlib.provisioning.orphans import Orphans

    settings = options.settings(given)
    with stores.opened(settings) as store, stores.node_registry(settings) as nodes:
        orphans = Orphans(store, Backends(), KeyedLocks(), nodes=nodes)
        if forget:
            for forgotten in orphans.forget(forget):
                output.print_text(f"forgotten: {forgotten}")
            return 0
        if restored:
            for marked in orphans.leave_alone():
                output.print_text(f"left alone: {marked}", sys.stderr)
        found = orphans.find()
    output.print_rows(map(asdict, found), format, columns=COLUMNS, nothing="nothing is half done")
    return 0
