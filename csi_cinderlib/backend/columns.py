"""Apply drivers' updates, which use Cinder's column names, to records. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from csi_cinderlib.errors import BackendError
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.model.size import GiB

PROVIDER = {
    "provider_location": "location",
    "provider_auth": "auth",
    "provider_id": "id",
    "provider_geometry": "geometry",
}
_JSON_TYPES = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset("replication_status replication_driver_data replication_extended_status".split())
"""Other columns in which Cinder's database keeps text."""
# Columns that the record already has, or that Cinder derives from other records.
_NOT_KEPT = frozenset(
    "id name name_id status attach_status created_at updated_at deleted deleted_at terminated_at user_id project_id "
    "display_name volume_type volume_type_id volume_attachment snapshots group group_id volume volume_id group_snapshot "
    "group_snapshot_id snapshot_id source_volid multiattach cluster cluster_name volume_size progress".split()
)


def update_volume(volume: Volume, columns: Mapping[str, Any]) -> Volume:
    """The record with a driver's update (by Cinder's column names); unknown columns are stored in `fields`.

    Raises:
        BackendError: a column has a value of another kind; names the column.
    """
    with _blaming(volume.backend):
        changed, provider, fields = _sort(columns)
        if "admin_metadata" in columns:
            changed["admin_metadata"] = _strings("admin_metadata", columns["admin_metadata"])
        if size := columns.get("size"):
            changed["size"] = _size(size)
    if host := columns.get("host"):
        changed["host"] = str(host)
        changed["pool"] = str(host).partition("#")[2] or volume.pool
    for column in ("admin_metadata", "size", "host"):
        fields.pop(column, None)
    return replace(
        volume,
        provider=replace(volume.provider, **provider),
        fields={**volume.fields, **fields} if fields else volume.fields,
        **changed,
    )


def update_snapshot(snapshot: Snapshot, columns: Mapping[str, Any]) -> Snapshot:
    """As `update_volume`."""
    with _blaming(snapshot.backend):
        changed, provider, fields = _sort(columns)
    return replace(
        snapshot,
        provider=replace(snapshot.provider, **provider),
        fields={**snapshot.fields, **fields} if fields else snapshot.fields,
        **changed,
    )


def update_attachment(attachment: Attachment, columns: Mapping[str, Any]) -> Attachment:
    """Drivers may only write the connector and the connection info; Cinder passes both as JSON text."""
    changed: dict[str, Any] = {
        name: json.loads(columns[name]) if isinstance(columns[name], str) else dict(columns[name])
        for name in ("connector", "connection_info")
        if columns.get(name)
    }
    return replace(attachment, **changed)


def _sort(columns: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Split an update into record fields, provider fields and others."""
    changed = {"metadata": _strings("metadata", columns["metadata"])} if columns.get("metadata") is not None else {}
    provider = {ours: _scalar(theirs, columns[theirs]) for theirs, ours in PROVIDER.items() if theirs in columns}
    fields = {
        name: _scalar(name, value) if name in _TEXT else plain(value)
        for name, value in columns.items()
        if name not in _NOT_KEPT and name not in PROVIDER and name != "metadata"
    }
    return changed, provider, fields


@contextmanager
def _blaming(backend: str) -> Iterator[None]:
    try:
        yield
    except _UnsupportedError as error:
        raise BackendError(backend, str(error)) from None


class _UnsupportedError(ValueError):
    pass


def _strings(column: str, pairs: Any) -> dict[str, str]:
    """Metadata is a mapping, or a list of key and value."""
    try:
        items = pairs.items() if isinstance(pairs, Mapping) else [(pair["key"], pair["value"]) for pair in pairs or ()]
    except (TypeError, KeyError):
        raise _UnsupportedError(
            f"the driver returned an unsupported value for {column}; expected a dictionary"
        ) from None
    return {str(key): str(_scalar(f"{column}[{key}]", value)) for key, value in items}


def _size(value: Any) -> GiB:
    try:
        return GiB(int(value))
    except (TypeError, ValueError):
        raise _UnsupportedError(f"the driver returned {value!r} for size; expected a number of GiB") from None


def _scalar(column: str, value: Any) -> str | None:
    if isinstance(value, Mapping | list | tuple | set):
        raise _UnsupportedError(f"the driver returned a {type(value).__name__} for {column}; expected text")
    return text(value)


def text(value: Any) -> str | None:
    """Some drivers return ids as numbers; Cinder's objects convert them to text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value is None else str(value)


def plain(value: Any) -> Any:
    """The value as JSON types, recursively."""
    if type(value) in _JSON_TYPES:  # most values; saves the tests of each kind
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return text(value)
