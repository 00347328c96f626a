"""Records from JSON, ours or cinderlib's: the values of Cinder's versioned objects of any version."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.cinderlib import connection_record, default
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.results import Json, JsonSource
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.model import records, times
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Source, SourceKind, Status, VolumeType
from csi_cinderlib.model.size import GiB

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

R = TypeVar("R", records.Volume, records.Snapshot)

Primitive = Mapping[str, Any]
_DATA = "versioned_object.data"
_LINKED = ("snapshots", "volume_attachment", "volume_type", "volume", "group", "cluster", "consistencygroup")
_STATUSES = {
    "creating": Status.CREATING,
    "error": Status.ERROR,
    "deleting": Status.DELETING,
    "error_deleting": Status.DELETING,
    "deleted": Status.DELETED,
}
"""Other statuses mean that the object is usable."""


def load(json_src: JsonSource | Sequence[Json], save: bool = False) -> Any:
    """Load objects from the output of `json` or `dump`, as text or parsed: one object or a list.

    Without `save` an object is stored on the first operation.
    """
    return default.library().load(json_src, save)


def json() -> list[Json]:
    """All objects of the loaded back ends."""
    return default.library().json()


def jsons() -> str:
    """`json` as text."""
    return default.library().jsons()


def dump() -> list[Json]:
    """`json`, after loading everything."""
    return default.library().dump()


def dumps() -> str:
    """`dump` as text."""
    return default.library().dumps()


def load_object(library: Library, kind: type[Any], ovo: Primitive, backend: Backend | str) -> Any:
    """An object of that class, not stored."""
    makers = {"Volume": _volume, "Snapshot": _snapshot, "Connection": _connection}
    return makers[kind.__name__](library, ovo[_DATA], backend)


def _volume(library: Library, data: Primitive, backend: Backend | str) -> Volume:
    name = _name(backend)
    volume = Volume._of(library, volume_record(data, name), backend)
    if "snapshots" in data:
        volume._snapshots = [
            Snapshot._of(library, snapshot_record(item, name), backend, volume) for item in _listed(data["snapshots"])
        ]
    if "volume_attachment" in data:
        volume._connections = [
            Connection._of(library, attachment_record(item, name), backend, volume)
            for item in _listed(data["volume_attachment"])
        ]
    return volume


def _snapshot(library: Library, data: Primitive, backend: Backend | str) -> Snapshot:
    return Snapshot._of(library, snapshot_record(data, _name(backend)), backend, _parent(library, data, backend))


def _connection(library: Library, data: Primitive, backend: Backend | str) -> Connection:
    return Connection._of(library, attachment_record(data, _name(backend)), backend, _parent(library, data, backend))


def _parent(library: Library, data: Primitive, backend: Backend | str) -> Volume | None:
    volume = data.get("volume")
    return _volume(library, volume[_DATA], backend) if volume else None


def _name(backend: Backend | str) -> str:
    return backend if isinstance(backend, str) else backend.id


def _listed(primitive: Primitive | None) -> list[Primitive]:
    return [item[_DATA] for item in (primitive or {_DATA: {"objects": []}})[_DATA]["objects"]]


def volume_record(data: Primitive, backend: str) -> records.Volume:
    """The record of a volume from `Volume.json`. It never counts as new, so that no node formats the volume."""
    host = str(data.get("host") or "")
    record = records.Volume(
        id=data["id"],
        name=str(data.get("display_name") or ""),
        backend=backend,
        pool=host.partition("#")[2],
        host=host,
        size=GiB(int(data["size"])),
        status=_STATUSES.get(str(data.get("status")), Status.AVAILABLE),
        source=_source(data),
        type=_type(data.get("volume_type")),
        multiattach=bool(data.get("multiattach")),
        blank=False,
        created_at=_moment(data.get("created_at")),
    )
    return _with_rest(record, update_volume(record, _rest(data)), data)


def snapshot_record(data: Primitive, backend: str) -> records.Snapshot:
    """The record of a snapshot from `Snapshot.json`."""
    record = records.Snapshot(
        id=data["id"],
        name=str(data.get("display_name") or ""),
        backend=backend,
        volume_id=data["volume_id"],
        size=GiB(int(data["volume_size"])),
        status=_STATUSES.get(str(data.get("status")), Status.AVAILABLE),
        created_at=_moment(data.get("created_at")),
    )
    return _with_rest(record, update_snapshot(record, _rest(data)), data)


def attachment_record(data: Primitive, backend: str) -> Attachment:
    """The record of a connection from `Connection.json`. Its `connection_info` contains connection info, connector and device."""
    info = data.get("connection_info") or {}
    info = json_text.loads(info) if isinstance(info, str) else info
    connector = info.get("connector") or data.get("connector") or {}
    record = Attachment(
        id=data["id"],
        volume_id=data["volume_id"],
        backend=backend,
        node_id=str(connector.get("host") or data.get("attached_host") or ""),
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        status=Status.AVAILABLE,
        created_at=_moment(data.get("created_at")),
    )
    given = {name: data[name] for name in connection_record.COLUMNS if data.get(name)}
    whole = {**info, "connector": connector}
    return connection_record.changed(record, {"connection_info": whole, **given, **_mode(data)})


def _mode(data: Primitive) -> dict[str, Any]:
    return {"attach_mode": data["attach_mode"]} if data.get("attach_mode") in ("ro", "rw") else {}


def _rest(data: Primitive) -> dict[str, Any]:
    """The values without a record field of their own; unset values are omitted."""
    return {name: value for name, value in data.items() if name not in (*_LINKED, "host") and value is not None}


def _with_rest(record: R, updated: R, data: Primitive) -> R:
    owner = {name: data[name] for name in ("project_id", "user_id") if data.get(name)}
    hidden = {name: value for name, value in updated.fields.items() if not name.startswith("_")}
    return replace(updated, size=record.size, fields={**hidden, **owner})


def _source(data: Primitive) -> Source | None:
    if data.get("snapshot_id"):
        return Source(SourceKind.SNAPSHOT, data["snapshot_id"])
    if data.get("source_volid"):
        return Source(SourceKind.VOLUME, data["source_volid"])
    return None


def _type(primitive: Primitive | None) -> VolumeType | None:
    if not primitive:
        return None
    data = primitive[_DATA]
    qos = (data.get("qos_specs") or {}).get(_DATA) or {}
    return VolumeType(
        extra_specs=cast("Mapping[str, str]", data.get("extra_specs") or {}),
        qos_specs=qos.get("specs") or {},
        qos_consumer=qos.get("consumer") or "back-end",
    )


def _moment(text: str | None) -> str:
    if not text:
        return ""
    try:
        return times.stamp(datetime.fromisoformat(text.replace("Z", "+00:00")))
    except ValueError:
        return ""
