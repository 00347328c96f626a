"""`csi-cinderlib export`: writes all metadata as JSON, one record per line, for a backup or for another store."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from csi_cinderlib.commands import options, output
from csi_cinderlib.observe import progress, standard_output


@click.command(
    epilog="FILE must not exist; - is standard output. Without sealing keys it contains credentials; its mode is 0600."
)
@click.argument("file", type=click.Path())
@click.option("--skip-corrupt", is_flag=True, help="Skip records that cannot be read, and list them.")
@options.configuration
def command(given: options.Given, file: str, skip_corrupt: bool) -> int:
    """Raises ConfigurationError, StoreUnavailable, OperationPending, or CorruptRecord, since a backup must not lack records."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.config import live
    from csi_cinderlib.persistence import transfer
    from csi_cinderlib.sealing import Sealer

    settings = options.settings(given)
    keys = Sealer(live.sealing_keys(settings))
    sealer = keys if keys.active else None
    with stores.reading(settings, whole=True) as store, progress.shown("exporting") as shown:
        if file == "-":
            with standard_output.named():
                done = transfer.write(
                    store, sys.stdout.buffer, sealer=sealer, skip_corrupt=skip_corrupt, progress=shown
                )
                sys.stdout.buffer.flush()
        else:
            done = transfer.export(store, Path(file), sealer=sealer, skip_corrupt=skip_corrupt, progress=shown)
    for kind, id in done.corrupt:
        output.print_text(f"skipped: {kind} {id}", sys.stderr)
    output.print_text(str(done), sys.stderr)
    return 0
