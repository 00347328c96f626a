"""The record of a connection, with the fields of cinderlib.

The record's `connection_info` contains the driver's connection info, the device on the host and the user's fields, so that all are
sealed together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from csi_cinderlib.backend.columns import plain
from csi_cinderlib.cinderlib import checks
from csi_cinderlib.cinderlib.creations import now
from csi_cinderlib.errors import InvalidRequest, PreconditionFailed
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Status, Volume

_DEVICE = "device"
_GIVEN = "given"
_MORE = "more"
"""Keys that the user has added to `connection_info`; stored among the user's fields."""
_PARTS = ("conn", "connector", _DEVICE)
_TIMES = ("attach_time", "detach_time")
COLUMNS = ("attach_status", "attached_host", "instance_uuid", "mountpoint", *_TIMES)
"""Fields of Cinder's object that are stored as the user sets them."""
SETTABLE = frozenset({*COLUMNS, "attach_mode", "connector", "connection_info"})
"""The fields of Cinder's object that can be changed."""
FIXED = frozenset({"id", "volume_id", "created_at", "updated_at", "deleted", "deleted_at"})
"""The fields of Cinder's object that cannot be changed."""
OPTIONS = ("use_multipath", "device_scan_attempts")
CIPHERTEXT = "ciphertext"
IN_JSON = (*COLUMNS, CIPHERTEXT)
_FIELDS = frozenset({"id", "attach_mode", *COLUMNS, *OPTIONS, CIPHERTEXT})
_ATTACH_STATUSES = (
    "attached attaching deleted detached detaching error_attaching error_detaching reserved".split()
)  # cinder.objects.fields.VolumeAttachStatus


def new(volume: Volume, connector: Mapping[str, Any], fields: Mapping[str, Any], id: str) -> Attachment:
    """The record of a new connection.

    Args:
        fields: as for `Volume.connect`.
        id: the id, unless `fields` contains one.

    Raises:
        InvalidRequest: a field or its value is not supported.
    """
    _check_names(fields, _FIELDS)
    record = Attachment(
        id=checks.identity("id", fields.get("id") or id),
        volume_id=volume.id,
        backend=volume.backend,
        node_id=str(connector.get("host", "")),
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        block=True,  # the caller gets the raw device
        connector=plain(connector),
        created_at=now(),
    )
    return changed(record, {name: value for name, value in fields.items() if name != "id" and value is not None})


def constructed(volume_id: str, backend: str, fields: Mapping[str, Any], id: str) -> Attachment:
    """The record of a connection that exists on the storage already, as the arguments of `Connection` describe it.

    Raises:
        InvalidRequest: a field or its value is not supported, or `volume_id` is empty.
    """
    _check_names(fields, _FIELDS | SETTABLE)
    if not volume_id:
        raise InvalidRequest("volume", "is required to create a connection; pass the volume or its volume_id")
    record = Attachment(
        id=checks.identity("id", fields.get("id") or id),
        volume_id=volume_id,
        backend=backend,
        node_id="",
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        block=True,
        status=Status.AVAILABLE,
        created_at=now(),
    )
    whole = {"connection_info": fields.get("connection_info"), **fields}  # first, as the others take precedence
    record = changed(record, {name: value for name, value in whole.items() if name != "id" and value is not None})
    return replace(record, node_id=str(record.connector.get("host") or given(record).get("attached_host") or ""))


def refuse_encrypted(volume: Volume, record: Attachment) -> None:
    """Refuse to give out the device of a volume that nodes encrypt, unless that was asked for by name.

    Raises:
        PreconditionFailed: the first write to it would destroy the header.
    """
    if volume.encryption and not record.ciphertext:
        raise PreconditionFailed(
            f"volume {volume.id!r} is encrypted by its nodes ({volume.encryption}); this library does not decrypt it, and writing to its "
            f"device destroys it. To get the device as it is, call connect or attach with {CIPHERTEXT}=True"
        )


def _check_names(fields: Mapping[str, Any], supported: frozenset[str]) -> None:
    for name in fields:
        if name not in supported:
            raise InvalidRequest(name, f"unsupported field of a connection; supported: {', '.join(sorted(supported))}")


# --- reading


def driver_answer(record: Attachment) -> dict[str, Any]:
    """The driver's connection info."""
    return {name: value for name, value in record.connection_info.items() if name not in (_DEVICE, _GIVEN)}


def device(record: Attachment) -> Any:
    """os-brick's description of the device on the host, or None."""
    return record.connection_info.get(_DEVICE)


def given(record: Attachment) -> Mapping[str, Any]:
    """The user's fields."""
    values = record.connection_info.get(_GIVEN)
    return values if isinstance(values, Mapping) else {}


def info(record: Attachment) -> dict[str, Any]:
    """A copy of cinderlib's `connection_info`: `conn`, `connector`, `device` if attached, and the keys that the user has added."""
    conn = plain(driver_answer(record))
    if isinstance(conn.get("data"), dict) and conn["data"]:
        conn["data"]["access_mode"] = mode(record)
    attached = {_DEVICE: plain(device(record))} if device(record) else {}
    return {"conn": conn, "connector": plain(record.connector), **attached, **plain(given(record).get(_MORE) or {})}


def mode(record: Attachment) -> str:
    """`rw` or `ro`; the user's choice or the driver's."""
    if record.read_only:
        return "ro"
    data = record.connection_info.get("data")
    return str((data.get("access_mode") if isinstance(data, Mapping) else None) or "rw")


# --- changing


def differences(record: Attachment, current: Mapping[str, Any]) -> dict[str, Any]:
    """The values for `changed` that lead from the record to this `connection_info`."""
    before, after = _parts(info(record)), _parts(current)
    return {name: after[name] for name in after if after[name] != before[name]}


def _parts(whole: Mapping[str, Any]) -> dict[str, Any]:
    more = {name: value for name, value in whole.items() if name not in _PARTS}
    return {**{name: plain(whole.get(name) or {}) for name in _PARTS}, _MORE: plain(more)}


def changed(record: Attachment, values: Mapping[str, Any]) -> Attachment:
    """The record with values set on a handle or on Cinder's object.

    Raises:
        InvalidRequest: a field cannot be changed, or a value is not supported.
    """
    for name, value in values.items():
        if name in _CHANGES:
            record = _CHANGES[name](record, value)
        elif name in COLUMNS or name in OPTIONS:
            record = with_given(record, {name: _checked(name, value)})
        else:
            raise InvalidRequest(name, f"cannot be changed; supported: {', '.join(sorted(SETTABLE))}")
    return record


def with_given(record: Attachment, values: Mapping[str, Any]) -> Attachment:
    """The record with these user fields changed; None removes a field."""
    kept = {name: value for name, value in {**given(record), **values}.items() if value is not None}
    return _with(record, _GIVEN, kept)


def _with(record: Attachment, name: str, value: Any) -> Attachment:
    rest = {key: item for key, item in record.connection_info.items() if key != name}
    return replace(record, connection_info={**rest, name: value} if value else rest)


def _with_answer(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    """The access mode in the driver's answer and `attach_mode` are one value, as in cinderlib."""
    kept = {name: item for name, item in record.connection_info.items() if name in (_DEVICE, _GIVEN)}
    answer = plain(value or {})
    record = replace(record, connection_info={**answer, **kept})
    data = answer.get("data")
    wanted = data.get("access_mode") if isinstance(data, Mapping) else None
    return _with_mode(record, wanted) if wanted in ("ro", "rw") else record


def _with_device(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    return _with(record, _DEVICE, plain(value) if value else None)


def _with_connector(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    return replace(record, connector=plain(value or {}))


def _with_more(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    return with_given(record, {_MORE: plain(value) if value else None})


def _with_all(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    """cinderlib's `connection_info`."""
    parts = _parts(value or {})
    record = _with_more(_with_device(_with_answer(record, parts["conn"]), parts[_DEVICE]), parts[_MORE])
    return _with_connector(record, parts["connector"]) if "connector" in (value or {}) else record


def _with_mode(record: Attachment, mode: Any) -> Attachment:
    if mode not in ("ro", "rw"):
        raise InvalidRequest("attach_mode", f"must be ro or rw (got {mode!r})")
    read_only = mode == "ro"
    access = AccessMode.SINGLE_NODE_READER_ONLY if read_only else AccessMode.SINGLE_NODE_WRITER
    record = replace(record, read_only=read_only, access_mode=access)
    data = record.connection_info.get("data")
    if not isinstance(data, Mapping) or "access_mode" not in data:
        return record
    return replace(record, connection_info={**record.connection_info, "data": {**data, "access_mode": mode}})


def _with_ciphertext(record: Attachment, value: Any) -> Attachment:
    if not isinstance(value, bool):
        raise InvalidRequest(CIPHERTEXT, f"must be True or False (got {value!r})")
    return replace(record, ciphertext=value)


def _checked(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "use_multipath":
        return bool(value)
    if name == "device_scan_attempts":
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidRequest(name, f"must be a whole number of at least 1 (got {value!r})")
        return value
    if name in _TIMES:
        return _moment(name, value)
    if name == "attach_status" and value not in _ATTACH_STATUSES:
        raise InvalidRequest(name, f"must be one of {', '.join(_ATTACH_STATUSES)} (got {value!r})")
    return str(value)


def _moment(name: str, value: Any) -> str:
    try:
        return (value if isinstance(value, datetime) else datetime.fromisoformat(value)).isoformat()
    except (TypeError, ValueError):
        raise InvalidRequest(name, f"must be a time in ISO 8601 format (got {value!r})") from None


_CHANGES: Mapping[str, Callable[[Attachment, Any], Attachment]] = {
    "conn": _with_answer,
    "connector": _with_connector,
    _DEVICE: _with_device,
    _MORE: _with_more,
    "connection_info": _with_all,
    "attach_mode": _with_mode,
    CIPHERTEXT: _with_ciphertext,
}


def refill(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Make `target` equal to `source` in place, so that a caller that holds `conn_info` or its `data` changes the current values."""
    for name in target.keys() - source.keys():
        del target[name]
    for name, value in source.items():
        old = target.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            refill(old, value)
        else:
            target[name] = value
