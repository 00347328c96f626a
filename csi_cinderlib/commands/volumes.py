"""`csi-cinderlib volumes`: what the metadata store knows."""

from __future__ import annotations

import argparse
from collections import defaultdict

from csi_cinderlib.commands import listing, options


def arguments(parser: argparse.ArgumentParser) -> None:
    options.configuration(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """1 when a record cannot be read."""
    from csi_cinderlib.app import stores
    from csi_cinderlib.model.records import Attachment, Volume

    corrupt = False
    rows: list[listing.Row] = []
    with stores.opened(options.settings(args)) as store:
        nodes = defaultdict(list)
        for attachment in stores.walk(store, Attachment):
            if isinstance(attachment, Attachment):
                nodes[attachment.volume_id].append(str(attachment.connector.get("host") or attachment.node_id))
        for volume in stores.walk(store, Volume):
            if isinstance(volume, str):
                corrupt = True
                rows.append(_row(volume, status="unreadable"))
                continue
            claim = volume.labels.get("csi.storage.k8s.io/pvc/name", "")
            place = f"{volume.backend}#{volume.pool}" if volume.pool else volume.backend
            rows.append(
                _row(
                    volume.id, f"{volume.size}", volume.status, place, ",".join(nodes[volume.id]), claim or volume.name
                )
            )
    listing.show(rows, as_json=args.json, nothing="no volumes")
    return int(corrupt)


def _row(id: str, size: str = "", status: str = "", place: str = "", nodes: str = "", name: str = "") -> listing.Row:
    return {"volume": id, "gib": size, "status": status, "place": place, "nodes": nodes, "name": name}
