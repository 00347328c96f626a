"""`csi-cinderlib orphans`: what an interrupted call left half done and no retry has finished yet."""

from __future__ import annotations

import argparse

from csi_cinderlib.commands import listing, options


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """0, whether there are any or not."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume

    rows: list[listing.Row] = []
    with stores.opened(options.settings(args)) as store:
        for kind, record in stores.everything(store, (Volume, Snapshot, Attachment, GroupSnapshot)):
            if isinstance(record, str):
                rows.append(_row(kind, record, "unreadable"))
            elif (
                isinstance(record, Volume | Snapshot | Attachment | GroupSnapshot)
                and record.status is not Status.AVAILABLE
            ):
                rows.append(_row(kind, record.id, record.status, record.created_at, record.owner, record.message))
    listing.show(rows, as_json=args.json, nothing="nothing is half done")
    return 0


def _row(kind: str, id: str, status: str, since: str = "", owner: str = "", message: str = "") -> listing.Row:
    return {"kind": kind, "id": id, "status": status, "made_at": since, "owner": owner, "message": message}
