"""The PersistentVolumes and VolumeSnapshotContents of a CSI driver. They exist independently of the driver's store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from csi_cinderlib.app.emptiness import Elsewhere
from csi_cinderlib.errors import DriverError
from csi_cinderlib.observe import redact
from csi_cinderlib.persistence.kubernetes.rest import ApiError, Client

VOLUMES = "/api/v1/persistentvolumes"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"
_PAGE = "500"
Json = dict[str, Any]


def elsewhere(client: Client, driver_name: str) -> Elsewhere:
    """The handles of all volumes and snapshots of a driver. What cannot be listed is unknown."""
    try:
        volumes = frozenset(filter(None, (_of_volume(item, driver_name) for item in _listed(client, VOLUMES))))
        snapshots = frozenset(filter(None, (_of_snapshot(item, driver_name) for item in _listed(client, SNAPSHOTS))))
    except DriverError as error:
        return Elsewhere(
            unknown=f"PersistentVolumes and VolumeSnapshotContents cannot be listed: {redact.text(str(error))}"
        )
    return Elsewhere(volumes, snapshots)


def _listed(client: Client, path: str) -> Iterator[Json]:
    going_on: dict[str, str] = {}
    while True:
        try:
            page = client.get(path, limit=_PAGE, **going_on)
        except ApiError as error:
            if error.status == 404 and not going_on:  # the kind is not installed, so there are none
                return
            raise
        yield from page["items"]
        if not (token := page["metadata"].get("continue")):
            return
        going_on = {"continue": token}


def _of_volume(item: Json, driver_name: str) -> str:
    csi = item["spec"].get("csi") or {}
    return str(csi.get("volumeHandle", "")) if csi.get("driver") == driver_name else ""


def _of_snapshot(item: Json, driver_name: str) -> str:
    """The handle of an existing snapshot; one that is not taken yet has none."""
    spec, status = item["spec"], item.get("status") or {}
    if spec.get("driver") != driver_name:
        return ""
    return str(status.get("snapshotHandle") or (spec.get("source") or {}).get("snapshotHandle") or "")
