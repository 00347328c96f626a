"""Programs with the calls of oVirt's engine and of Ember-CSI, as users of a type checker write them: without casts.

`make lint` checks the types; a test runs them.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import csi_cinderlib.cinderlib as cl
from csi_cinderlib.cinderlib import exception
from csi_cinderlib.cinderlib.results import ConnectionInfo

CAPABILITY = "capability"


def connect(backend: cl.Backend, volume_id: str, text: str) -> ConnectionInfo:
    """The same host again gets the same connection."""
    volume = backend.volumes_filtered(volume_id=volume_id)[0]
    for connection in volume.connections:
        if connection.connector_info["host"] == json.loads(text)["host"]:
            return connection.conn_info
    return volume.connect(json.loads(text)).connection_info["conn"]


def save_device(volume: cl.Volume, text: str) -> str:
    connection = volume.connections[0]
    connection.device_attached(json.loads(text))
    return json.dumps(connection.connection_info)


def free_space(backend: cl.Backend) -> float:
    """In bytes; 0 if the storage does not tell."""
    free = backend.stats(refresh=True)["pools"][0]["free_capacity_gb"]
    return free * 1024**3 if isinstance(free, float | int) else 0.0


def snapshot_and_restore(volume: cl.Volume, id: str) -> tuple[str, str]:
    snapshot = volume.create_snapshot(name="monday")
    restored = snapshot.create_volume(id=id, name="restored")
    found = [known for known in volume.snapshots if known.id == snapshot.id]
    return found[0].status, restored.status


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 10**9)


def describe(snapshot: cl.Snapshot) -> dict[str, object]:
    """As Ember-CSI answers CSI's ListSnapshots."""
    return {
        "id": snapshot.id,
        "size": snapshot.volume_size,
        "source": snapshot.volume_id,
        "created_at": nanoseconds(snapshot.created_at),
        "ready": snapshot.status == "available",
    }


def specs(volume: cl.Volume) -> dict[str, str]:
    return volume.volume_type.extra_specs if volume.volume_type_id else {}


def remember_capability(connection: cl.Connection, capability: str) -> dict[str, Any]:
    """Programs may add keys of their own, and pass the dictionaries to functions that take any."""
    info: dict[str, Any] = connection.connector_info
    info[CAPABILITY] = capability
    connection.connector_info = info
    connection.save()
    stored: str = connection.connector_info[CAPABILITY]
    return {"stored": stored, "conn": connection.conn_info}


def publish(volume: cl.Volume, node: str, connector: dict[str, object], attach_mode: str) -> str:
    """As Ember-CSI publishes a volume to a node, which stages it with `attach`."""
    connection = volume.connect(connector, attached_host=node, mountpoint="", attach_mode=attach_mode)
    connection._ovo.mountpoint = "/staging"
    connection.save()
    (mine,) = [known for known in volume.connections if known.attached_host == node]
    return f"{mine.protocol} {mine.mountpoint} {mine.use_multipath}"


def remember_node(node: str) -> str:
    persistence = cl.Backend.persistence
    if not persistence.get_key_values(node):
        persistence.set_key_value(cl.KeyValue(node, json.dumps(cl.get_connector_properties("sudo", "192.0.2.1"))))
    return persistence.get_key_values(node)[0].key or ""


def delete(volume: cl.Volume) -> str:
    """The class of the object that is in the way, or nothing."""
    try:
        volume.delete()
    except exception.InvalidVolume as error:
        return f"{type(error.resource).__name__} {error.resource.id} {error.code} {error.msg}"
    except exception.VolumeNotFound as error:
        return error.msg
    return ""


def manifest(backend: cl.Backend) -> tuple[str, str, bool]:
    return backend.get_version(), type(backend.driver).__name__, backend.supported
