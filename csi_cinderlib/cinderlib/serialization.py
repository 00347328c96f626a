"""Records from JSON, ours or cinderlib's: the values of Cinder's versioned objects of any version."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import connection_record, default, fields
from csi_cinderlib.cinderlib.backends import Backend as BACKEND_CLASS  # cinderlib's name
from csi_cinderlib.cinderlib.connection import Connection
from csi_cinderlib.cinderlib.named import OWN_FIELDS, encryption_in
from csi_cinderlib.cinderlib.primitives import (
    datetime_to_primitive,
    dict_to_primitive,
    field_ovo_to_primitive,
    field_to_primitive,
    iterable_to_primitive,
    obj_from_primitive,
    obj_to_primitive,
    setup,
    wrap_to_primitive,
)
from csi_cinderlib.cinderlib.results import Json, JsonSource
from csi_cinderlib.cinderlib.snapshot import Snapshot
from csi_cinderlib.cinderlib.volume import Volume
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Status, VolumeType

__all__ = [
    "BACKEND_CLASS",
    "attachment_record",
    "datetime_to_primitive",
    "dict_to_primitive",
    "dump",
    "dumps",
    "field_ovo_to_primitive",
    "field_to_primitive",
    "iterable_to_primitive",
    "json",
    "jsons",
    "load",
    "load_object",
    "obj_from_primitive",
    "obj_to_primitive",
    "setup",
    "snapshot_record",
    "volume_record",
    "wrap_to_primitive",
]

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

H = TypeVar("H", Volume, Snapshot)
O = TypeVar("O", Volume, Snapshot, Connection)  # noqa: E741  # object
S = TypeVar("S", records.Snapshot, Attachment)

Primitive = Mapping[str, Any]
_DATA = "versioned_object.data"
_OBJECTS = f"{_DATA}.objects"
_SPENT = frozenset(
    "id size volume_size volume_id status deleted created_at volume_type snapshots volume_attachment volume group cluster "
    "consistencygroup cgsnapshot group_snapshot".split()
)
"""Fields that become a column or an object of their own."""


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


def load_all(library: Library, json_src: JsonSource | Sequence[Json], save: bool) -> Any:
    """See `load`. Everything is read before anything is stored."""
    source = parsed(json_src)
    listed = source if isinstance(source, list) else [source]
    loaded = []
    for number, item in enumerate(listed):
        with _at(f"[{number}]." if listed is source else ""):
            loaded.append(_load_one(library, item))
    for _, handles in loaded if save else ():
        for handle in handles:
            handle._keep()
    results = [result for result, _ in loaded]
    return results if listed is source else results[0]


def _load_one(library: Library, source: Any) -> tuple[Any, Sequence[Any]]:
    """What `load` returns for the JSON object, and the objects to store."""
    name = _member(source, "class", str)
    if name == "Backend":
        return _load_backend(library, source)
    kinds = {"Volume": Volume, "Snapshot": Snapshot, "Connection": Connection}
    if name not in kinds:
        raise InvalidRequest("class", f"must be one of Backend, {', '.join(kinds)} (got {name!r})")
    handle = load_object(library, kinds[name], source)
    return handle, [handle]


def load_backend(library: Library, json_src: JsonSource, save: bool, cls: type[Backend] | None = None) -> Backend | str:
    """Load a back end with its volumes. Raises InvalidRequest, KeyError (see `Library.backend_of`)."""
    backend, volumes = _load_backend(library, parsed(json_src), cls)
    for volume in volumes if save else ():
        volume._keep()
    return backend


def _load_backend(
    library: Library, source: Any, cls: type[Backend] | None = None
) -> tuple[Backend | str, list[Volume]]:
    backend, volumes = _backend(library, source, cls), []
    for number, item in enumerate(source.get("volumes") or ()):
        with _at(f"volumes[{number}]."):
            volumes.append(load_object(library, Volume, item))
    if volumes and not isinstance(backend, str):
        backend._volumes = volumes
    return backend, volumes


def _backend(library: Library, source: Any, cls: type[Backend] | None = None) -> Backend | str:
    described = _member(source, "backend")
    with _at("backend."):
        _member(described, "volume_backend_name", str)
    return library.backend_of(described, cls)


def parsed(json_src: JsonSource | bytes | Sequence[Json]) -> Any:
    """The parsed JSON. Raises InvalidRequest."""
    if not isinstance(json_src, str | bytes):
        return json_src
    try:
        return json_text.loads(json_src)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("json_src", f"not valid JSON: {error}") from None


def load_object(library: Library, kind: type[O], json_src: JsonSource) -> O:
    """An object of that class, not stored.

    Raises:
        InvalidRequest: a value is missing or wrong; names it by its path.
        KeyError: see `Library.backend_of`.
    """
    source = parsed(json_src)
    backend = _backend(library, source)
    makers: dict[type[Any], Callable[..., Any]] = {Volume: _volume, Snapshot: _snapshot, Connection: _connection}
    with _at("ovo."):
        data = _member(source.get("ovo"), _DATA)
        with _at(f"{_DATA}."):
            handle: O = makers[kind](library, data, backend)
            return handle


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Complete the path in an error of the block."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"{path}{error.field}", error.problem) from None


def _member(source: Any, name: str, kind: type[Any] = Mapping) -> Any:
    """A mandatory member of a JSON object. Raises InvalidRequest."""
    value = source.get(name) if isinstance(source, Mapping) else None
    if not isinstance(value, kind):
        raise InvalidRequest(name, "must be text" if kind is str else "must be an object")
    return value


def _volume(library: Library, data: Primitive, backend: Backend | str) -> Volume:
    name = _name(backend)
    volume = Volume._of(library, volume_record(data, name), backend)
    _mark(volume, data)
    if "snapshots" in data:
        volume._snapshots = [
            _mark(Snapshot._of(library, record, backend, volume), item)
            for item, record in _listed(data, "snapshots", lambda item: snapshot_record(item, name))
        ]
    if "volume_attachment" in data:
        volume._connections = [
            Connection._of(library, record, backend, volume)
            for _, record in _listed(data, "volume_attachment", lambda item: attachment_record(item, name))
        ]
    return volume


def _snapshot(library: Library, data: Primitive, backend: Backend | str) -> Snapshot:
    record, volume = snapshot_record(data, _name(backend)), _parent(library, data, backend)
    snapshot = _mark(Snapshot._of(library, record, backend, volume), data)
    if volume is not None and volume._snapshots is not None:  # the JSON of the volume omits it
        volume._snapshots.append(snapshot)
    return snapshot


def _connection(library: Library, data: Primitive, backend: Backend | str) -> Connection:
    record, volume = attachment_record(data, _name(backend)), _parent(library, data, backend)
    connection = Connection._of(library, record, backend, volume)
    if volume is not None and volume._connections is not None:
        volume._connections.append(connection)
    return connection


def _mark(handle: H, data: Primitive) -> H:
    """Mark the object of a deleted record, so that no operation stores it again."""
    if data.get("deleted") is True:
        handle._outcome = "deleted"
        handle._deleted_at = _time(records.Volume, data, "deleted_at")
    return handle


def _parent(library: Library, data: Primitive, backend: Backend | str) -> Volume | None:
    if not data.get("volume"):
        return None
    with _at(f"volume.{_DATA}."):
        volume = _volume(library, _member(data["volume"], _DATA), backend)
    if volume.id != data["volume_id"]:
        raise InvalidRequest("volume_id", f"differs from the id of the volume, {volume.id!r}")
    return volume


def _name(backend: Backend | str) -> str:
    return backend if isinstance(backend, str) else backend.id


def _listed(data: Primitive, name: str, read: Callable[[Primitive], S]) -> list[tuple[Primitive, S]]:
    """The members of a list of objects, each with its record."""
    listed = data[name] or {_DATA: {"objects": []}}
    with _at(f"{name}."):
        items = _member(_member(listed, _DATA), "objects", list)
    found = []
    for number, item in enumerate(items):
        with _at(f"{name}.{_OBJECTS}[{number}].{_DATA}."):
            data_of = _member(item, _DATA)
            found.append((data_of, read(data_of)))
    return found


def volume_record(data: Primitive, backend: str) -> records.Volume:
    """The record of a volume from `Volume.json`. It never counts as new, so that no node formats the volume.

    Its status is available: no status of JSON makes this program undo or repeat an operation. Others are shown to users only. With
    `name_taken` it is error.

    Raises:
        InvalidRequest: a value is missing or wrong.
    """
    listed = data.get("volume_attachment") or {}
    connected = bool((listed.get(_DATA) or {}).get("objects")) if isinstance(listed, Mapping) else False
    kind = _type(data.get("volume_type"))
    record = records.Volume(
        id=_member(data, "id", str),
        backend=backend,
        size=fields.whole(data.get("size")),
        **_state(data),
        encryption=encryption_in(data),
        header=str(data.get("header") or ""),
        type=kind,
        created_at=fields.moment(_time(records.Volume, data, "created_at")),
    )
    given = _rest(records.Volume, data)
    if not given.get("host") and data.get("status") == "creating":  # it was never created, so it has no place yet
        given.pop("host", None)
    record = fields.set_volume(record, given)
    return replace(
        record,
        fields={
            **_left(records.Volume, data),
            **record.fields,
            **_status(data, "in-use" if connected else "available"),
        },
    )


def snapshot_record(data: Primitive, backend: str) -> records.Snapshot:
    """The record of a snapshot from `Snapshot.json`; as `volume_record`."""
    record = records.Snapshot(
        id=_member(data, "id", str),
        backend=backend,
        volume_id=_member(data, "volume_id", str),
        size=fields.whole(data.get("volume_size"), "volume_size"),
        **_state(data),
        encryption=encryption_in(data),
        created_at=fields.moment(_time(records.Snapshot, data, "created_at")),
    )
    given = _rest(records.Snapshot, data)
    if given.get("progress") == backend:  # where cinderlib stores the back end's name
        del given["progress"]
    given.pop("volume_type_id", None)  # that of the volume
    record = fields.set_snapshot(record, given)
    return replace(record, fields={**_left(records.Snapshot, data), **record.fields, **_status(data, "available")})


def attachment_record(data: Primitive, backend: str) -> Attachment:
    """The record of a connection from `Connection.json`. Its `connection_info` contains connection info, connector and device.

    Raises:
        InvalidRequest: a value is missing or wrong.
    """
    with _at("connection_info."):
        info = parsed(data.get("connection_info") or {})
        _optional(info, "conn")
        connector = _optional(info, "connector") or _optional(data, "connector")
    record = Attachment(
        id=_member(data, "id", str),
        volume_id=_member(data, "volume_id", str),
        backend=backend,
        node_id=str(connector.get("host") or data.get("attached_host") or ""),
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        status=Status.AVAILABLE,
        created_at=fields.moment(_time(records.Volume, data, "created_at")),
    )
    given = {name: data[name] for name in connection_record.IN_JSON if data.get(name)}
    whole = {**info, "connector": connector}
    return connection_record.changed(record, {"connection_info": whole, **given, **_mode(data)})


def _mode(data: Primitive) -> dict[str, Any]:
    return {"attach_mode": data["attach_mode"]} if data.get("attach_mode") in ("ro", "rw") else {}


def _state(data: Primitive) -> dict[str, Any]:
    """A creation that was refused because of another object of the same name stays failed, and that object is never touched."""
    taken = str(data.get("name_taken") or "")
    return {"status": Status.ERROR if taken else Status.AVAILABLE, "name_taken": taken}


def _optional(source: Any, name: str) -> dict[str, Any]:
    value = source.get(name) or {} if isinstance(source, Mapping) else None
    if not isinstance(value, Mapping):
        raise InvalidRequest(name, "must be an object")
    return dict(value)


def _rest(kind: type[records.Volume] | type[records.Snapshot], data: Primitive) -> dict[str, Any]:
    """The values of the other fields; unset values are omitted."""
    known = {name: value for name, value in data.items() if versioned.is_field(kind, name)}
    return fields.checked(
        kind, {name: value for name, value in known.items() if name not in _SPENT and value is not None}
    )


def _left(kind: type[records.Volume] | type[records.Snapshot], data: Primitive) -> dict[str, Any]:
    """The values of fields that Cinder has removed or added since; kept for other versions."""
    return {
        name: value
        for name, value in data.items()
        if value is not None and name not in OWN_FIELDS and not versioned.is_field(kind, name)
    }


def _status(data: Primitive, derived: str) -> dict[str, Any]:
    status = data.get("status")
    return {"status": str(status)} if status and status != derived else {}


def _type(primitive: Any) -> VolumeType | None:
    if not primitive:
        return None
    with _at("volume_type."):
        data = _member(primitive, _DATA)
        qos = _optional(_optional(data, "qos_specs"), _DATA)
        return VolumeType(
            extra_specs=versioned.coerce_specs("extra_specs", data.get("extra_specs") or {}),
            qos_specs=versioned.coerce_specs("qos_specs", qos.get("specs") or {}),
            qos_consumer=str(qos.get("consumer") or "back-end"),
        )


def _time(kind: type[records.Volume] | type[records.Snapshot], data: Primitive, name: str) -> Any:
    return versioned.coerce(kind, name, data.get(name))
