"""`csi-cinderlib volumes`: what the metadata store knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from csi_cinderlib.commands import options, output

if TYPE_CHECKING:
    from csi_cinderlib.model.records import Attachment, Volume
    from csi_cinderlib.persistence.api import Store


UNREADABLE = "unreadable"


def _place(row: Any) -> str:
    return f"{row['backend']}#{row['pool']}" if row.get("pool") else row.get("backend", "")


def _nodes(row: Any) -> list[str]:
    states = {attachment["node"]: attachment["status"] for attachment in row.get("attachments", ())}
    return [node if state == "available" else f"{node}({state})" for node, state in states.items()]


COLUMNS = (
    output.Column("volume", lambda row: row["id"]),
    output.Column("gib"),
    output.Column("status"),
    output.Column("place", _place),
    output.Column("nodes", _nodes),
    output.Column("claim"),
    output.Column("name"),
    output.Column("since", lambda row: output.moment(str(row.get("created_at", "")))),
    output.Column("message"),
)


@click.command()
@options.configuration
@output.formatted
def command(given: options.Given, format: output.Format) -> int:
    """1 when a record cannot be read."""
    from csi_cinderlib.app import stores

    unreadable = 0

    def rows(store: Store) -> Iterator[output.Row]:
        nonlocal unreadable
        for row in _rows(store):
            unreadable += row["status"] == UNREADABLE
            yield row

    with stores.opened(options.settings(given)) as store:
        output.print_rows(rows(store), format, columns=COLUMNS, nothing="no volumes")
    return int(unreadable > 0)


def _rows(store: Store) -> Iterator[output.Row]:
    """In pages, so that any number of volumes takes the memory of one page."""
    from csi_cinderlib.model.records import Status, Volume
    from csi_cinderlib.persistence.iteration import pages

    for page in pages(store, Volume):
        attached = _attached(store, [volume.id for volume in page.records])
        yield from (_row(it, attached[it.id]) for it in page.records if it.status is not Status.DELETED)
        yield from map(_unreadable, page.corrupt)


def _attached(store: Store, volume_ids: Sequence[str]) -> defaultdict[str, list[Attachment]]:
    from csi_cinderlib.model.records import Attachment
    from csi_cinderlib.persistence.iteration import walk

    attachments = defaultdict(list)
    for attachment in walk(store, Attachment, {"volume_id": tuple(volume_ids)}):
        attachments[attachment.volume_id].append(attachment)
    return attachments


def _row(volume: Volume, attachments: Sequence[Attachment]) -> output.Row:
    from csi_cinderlib.model import labels, nodes

    return {
        "id": volume.id,
        "gib": int(volume.size),
        "status": volume.status.value,
        "backend": volume.backend,
        "pool": volume.pool,
        "nodes": [nodes.shown(attachment.node_id, attachment.connector) for attachment in attachments],
        "attachments": [_attachment(attachment) for attachment in attachments],
        "claim": labels.claim(volume.labels),
        "name": volume.name,
        "created_at": volume.created_at,
        "owner": volume.owner,
        "message": volume.message,
        "source": f"{volume.source.kind.value} {volume.source.id}" if volume.source else "",
        "labels": dict(volume.labels),
        "parameters": dict(volume.parameters),
    }


def _attachment(attachment: Attachment) -> dict[str, Any]:
    from csi_cinderlib.model import nodes

    return {
        "id": attachment.id,
        "node": nodes.shown(attachment.node_id, attachment.connector),
        "status": attachment.status.value,
        "read_only": attachment.read_only,
        "created_at": attachment.created_at,
        "message": attachment.message,
    }


def _unreadable(id: str) -> output.Row:
    return {"id": id, "status": UNREADABLE, "message": "its record cannot be read"}
