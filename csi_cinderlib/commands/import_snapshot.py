"""`csi-cinderlib import-snapshot`: takes an existing snapshot over, with its VolumeSnapshot, or gives it up."""

from __future__ import annotations

from typing import Any

import click

from csi_cinderlib.commands import importing, options, output
from csi_cinderlib.errors import InvalidRequest

_HOLDERS = ("VolumeSnapshotContent",)


@click.command(
    epilog="The running controller does this, so run the command beside it. NAME is the name on the back end. A repeated command finishes "
    "an interrupted one.",
)
@importing.common
@click.option(
    "--volume",
    metavar="ID",
    default="",
    help="The volume of the snapshot; with --undo only needed if several have a snapshot of that name.",
)
@click.option("--snapshot", metavar="NAMESPACE/NAME", default="", help="Create this VolumeSnapshot.")
def command(given: options.Given, format: output.Format, backend: str, name: str, **values: Any) -> int:
    """Raises InvalidRequest, and what `running.request` and the Kubernetes API raise."""
    from csi_cinderlib.inspection import cluster_view

    settings = options.settings(given)
    if values["listing"]:
        return importing.print_candidates(settings, "snapshot", backend, format)
    importing.require_name(name)
    body = {"backend": backend, "name": name, "by_id": values["by_id"], "dry_run": values["dry_run"]}
    body["volume"] = values["volume"]
    if values["undo"]:
        in_cluster = not values["manifests"] and (bool(values["snapshot"]) or cluster_view.is_expected(settings))
        return importing.undo(settings, "snapshot", body, holders=_HOLDERS, in_cluster=in_cluster)
    if not values["volume"]:
        raise InvalidRequest("--volume", "must be the id of the volume of the snapshot")
    return _import(settings, body, values)


def _import(settings: Any, body: dict[str, Any], values: dict[str, Any]) -> int:
    from csi_cinderlib.model.records import Snapshot
    from csi_cinderlib.provisioning.imported_objects import Name, snapshot_objects

    wanted = Name.parse(values["snapshot"], "--snapshot") if values["snapshot"] else None
    if wanted:
        body["labels"] = {"volumesnapshot/namespace": wanted.namespace, "volumesnapshot/name": wanted.name}
    creates = wanted is not None and not values["manifests"]
    record = importing.decoded(Snapshot, importing.post(settings, "snapshot", {**body, "dry_run": True}))
    objects = snapshot_objects(record, wanted, settings.driver_name) if wanted else ()
    if creates:
        importing.create_objects(settings, lambda _client: objects, dry_run=True)
    if values["dry_run"]:
        importing.tell(f"would import {body['name']} ({record.size} GiB)")
    else:
        record = importing.decoded(Snapshot, importing.post(settings, "snapshot", body))
        objects = snapshot_objects(record, wanted, settings.driver_name) if wanted else ()
        importing.tell(f"{body['name']} is snapshot {record.id} ({record.size} GiB)")
    if values["manifests"] and not values["dry_run"]:  # the id is not known before
        importing.print_manifests(objects)
    elif creates and not values["dry_run"]:
        importing.create_objects(settings, lambda _client: objects, dry_run=False)
    return 0
