"""`csi-cinderlib migrate`: bring the metadata store's tables to this version, where they are not brought there at start."""

from __future__ import annotations

import click

from csi_cinderlib.commands import options, output


@click.command()
@options.configuration
def command(given: options.Given) -> int:
    """Raises ConfigurationError or StoreUnavailable."""
    settings = options.settings(given)
    if settings.store.plugin != "sql":
        output.print_text(f"the store {settings.store.plugin} has no tables: nothing to do")
        return 0
    from csi_cinderlib.persistence.sql import migrate

    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = migrate(settings.store.options, state_dir=settings.state_dir)
    output.print_text(
        "the tables are those of this version"
        if done.before == done.after
        else f"schema {done.before or 'none'} -> {done.after}"
    )
    return 0
