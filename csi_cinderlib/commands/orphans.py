"""`csi-cinderlib orphans`: what an interrupted call left half done, or may have left on the array out of reach."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from csi_cinderlib.commands import options, output

if TYPE_CHECKING:
    from csi_cinderlib.provisioning.orphans import Orphan


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with more in it")
    parser.add_argument(
        "--forget", metavar="ID", help="forget what failed under this id, after you have looked at the array"
    )
    parser.add_argument(
        "--restored",
        action="store_true",
        help="after an older copy of the metadata was restored, and before a controller starts: leave alone on the back ends what is "
        "half done in it",
    )


def run(args: argparse.Namespace) -> int:
    """0, whether there are any or not. Raises NotFound or PreconditionFailed when there is nothing to forget."""
    from dataclasses import asdict

    from csi_cinderlib.app import stores
    from csi_cinderlib.concurrency import KeyedLocks
    from csi_cinderlib.lifecycle.registry import Backends
    from csi_cinderlib.provisioning.orphans import Orphans

    settings = options.settings(args)
    with stores.opened(settings) as store, stores.node_registry(settings) as nodes:
        orphans = Orphans(store, Backends(), KeyedLocks(), nodes=nodes)
        if args.forget:
            for forgotten in orphans.forget(args.forget):
                output.print_text(f"forgotten: {forgotten}")
            return 0
        if args.restored:
            for marked in orphans.leave_alone():
                output.print_text(f"left alone: {marked}")
        found = orphans.find()
    rows = [asdict(orphan) if args.json else _brief(orphan) for orphan in found]
    output.print_list(rows, as_json=args.json, nothing="nothing is half done")
    return 0


def _brief(orphan: Orphan) -> output.Row:
    return {
        "kind": orphan.kind,
        "id": orphan.id,
        "status": orphan.status,
        "backend": orphan.backend,
        "node": orphan.node,
        "claim": orphan.claim,
        "name": orphan.name or orphan.volume_id,
        "since": output.moment(orphan.created_at),
        "due": "now" if orphan.due else "not yet",
        "owner": orphan.owner,
        "reason": orphan.reason,
    }
