"""`csi-cinderlib migrate`: updates the metadata store's tables to this version, if `serve` does not do so at its start."""

from __future__ import annotations

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.observe import progress


@click.command()
@options.configuration
def command(given: options.Given) -> int:
    """Raises ConfigurationError or StoreUnavailable."""
    settings = options.settings(given)
    if settings.store.plugin != "sql":
        output.print_text(f"store {settings.store.plugin} has no tables; nothing to migrate")
        return 0
    from csi_cinderlib.persistence.sql import migrate

    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with progress.shown("migrating the tables"):
        done = migrate(settings.store.options, state_dir=settings.state_dir)
    output.print_text(
        f"schema is up to date: {done.after}"
        if done.before == done.after
        else f"schema migrated: {done.before or 'none'} -> {done.after}"
    )
    return 0
