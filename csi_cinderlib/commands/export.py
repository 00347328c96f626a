"""`csi-cinderlib export`: all metadata as JSON, one record a line, for a backup or for another kind of store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from csi_cinderlib.commands import options, output


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="leave out, and name, the records that cannot be read"
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a file that does not exist yet (mode 0600: without sealing keys it holds credentials), or -",
    )


def run(args: argparse.Namespace) -> int:
    """Raises ConfigurationError, StoreUnavailable, OperationPending, and CorruptRecord: a backup that lacks a record is none."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.config import live
    from csi_cinderlib.persistence import transfer
    from csi_cinderlib.sealing import Sealer

    settings = options.settings(args)
    sealer = Sealer(live.sealing_keys(settings))
    how = {"sealer": sealer if sealer.active else None, "skip_corrupt": args.skip_corrupt}
    with stores.opened(settings) as store:
        if args.file == "-":
            done = transfer.write(store, sys.stdout.buffer, **how)
            sys.stdout.buffer.flush()
        else:
            done = transfer.export(store, Path(args.file), **how)
    for kind, id in done.corrupt:
        output.print_text(f"left out: {kind} {id}", sys.stderr)
    output.print_text(str(done), sys.stderr)
    return 0
