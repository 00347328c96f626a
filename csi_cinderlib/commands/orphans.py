"""`csi-cinderlib orphans`: what an interrupted call left half done and no retry has finished yet."""

from __future__ import annotations

import argparse

from csi_cinderlib.commands import listing, options


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """0, whether there are any or not."""
    from dataclasses import asdict

    from csi_cinderlib.app import stores
    from csi_cinderlib.backend.registry import Backends
    from csi_cinderlib.concurrency import KeyedLocks
    from csi_cinderlib.provisioning.orphans import Orphans

    with stores.opened(options.settings(args)) as store:
        rows = [asdict(orphan) for orphan in Orphans(store, Backends(), KeyedLocks()).find()]
    listing.show(rows, as_json=args.json, nothing="nothing is half done")
    return 0
