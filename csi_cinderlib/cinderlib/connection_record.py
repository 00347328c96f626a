"""The record of a connection, with the fields of cinderlib.

`connection_info` contains the driver's connection info, the device on the host and the user's fields, so that all are sealed
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from csi_cinderlib.cinderlib.handle import now
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import Attachment, Volume

_DEVICE = "device"
_GIVEN = "given"
COLUMNS = ("attached_host", "instance_uuid", "mountpoint")
"""Fields of Cinder's object that only the caller can provide."""
_OPTIONS = ("use_multipath", "device_scan_attempts")
_FIELDS = frozenset({"id", "attach_mode", *COLUMNS, *_OPTIONS})


def new(volume: Volume, connector: Mapping[str, Any], fields: Mapping[str, Any], id: str) -> Attachment:
    """The record of a new connection.

    Args:
        fields: as for `Volume.connect`.
        id: the id, unless `fields` contains one.

    Raises:
        InvalidRequest: a field or its value is not supported.
    """
    for name in fields:
        if name not in _FIELDS:
            raise InvalidRequest(name, f"unsupported field of a connection; supported: {', '.join(sorted(_FIELDS))}")
    record = Attachment(
        id=str(fields.get("id") or id),
        volume_id=volume.id,
        backend=volume.backend,
        node_id=str(connector.get("host", "")),
        access_mode=AccessMode.SINGLE_NODE_WRITER,
        block=True,  # the caller gets the raw device
        connector=dict(connector),
        created_at=now(),
    )
    return changed(record, {name: value for name, value in fields.items() if name != "id" and value is not None})


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


def with_given(record: Attachment, values: Mapping[str, Any]) -> Attachment:
    """The record with these user fields changed; None removes a field."""
    kept = {name: value for name, value in {**given(record), **values}.items() if value is not None}
    return _with(record, _GIVEN, kept)


def changed(record: Attachment, values: Mapping[str, Any]) -> Attachment:
    """The record with values set on a handle or on Cinder's object. Derived fields are ignored.

    Raises:
        InvalidRequest: a value is not supported.
    """
    for name, value in values.items():
        if name in _CHANGES:
            record = _CHANGES[name](record, value)
        elif name in _FIELDS and name != "id":
            record = with_given(record, {name: _checked(name, value)})
    return record


def _with(record: Attachment, name: str, value: Any) -> Attachment:
    rest = {key: item for key, item in record.connection_info.items() if key != name}
    return replace(record, connection_info={**rest, name: value} if value else rest)


def _with_answer(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    kept = {name: item for name, item in record.connection_info.items() if name in (_DEVICE, _GIVEN)}
    return replace(record, connection_info={**(value or {}), **kept})


def _with_device(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    return _with(record, _DEVICE, dict(value) if value else None)


def _with_connector(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    return replace(record, connector=dict(value or {}))


def _with_all(record: Attachment, value: Mapping[str, Any] | None) -> Attachment:
    """cinderlib's `connection_info`: connection info, connector and device."""
    value = value or {}
    record = _with_device(_with_answer(record, value.get("conn")), value.get("device"))
    return _with_connector(record, value["connector"]) if "connector" in value else record


def _with_mode(record: Attachment, mode: Any) -> Attachment:
    if mode not in ("ro", "rw"):
        raise InvalidRequest("attach_mode", f"must be ro or rw (got {mode!r})")
    read_only = mode == "ro"
    access = AccessMode.SINGLE_NODE_READER_ONLY if read_only else AccessMode.SINGLE_NODE_WRITER
    return replace(record, read_only=read_only, access_mode=access)


def _checked(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "use_multipath":
        return bool(value)
    if name == "device_scan_attempts":
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidRequest(name, f"must be a whole number of at least 1 (got {value!r})")
        return value
    return str(value)


_CHANGES: Mapping[str, Callable[[Attachment, Any], Attachment]] = {
    "conn_info": _with_answer,
    "connector_info": _with_connector,
    "connector": _with_connector,
    "connection_info": _with_all,
    "device": _with_device,
    "attach_mode": _with_mode,
}
