"""Records from the columns of Cinder's tables, which are also the fields of its versioned objects. Pure, and without Cinder.

A record made here never has a status that the controller acts upon by itself: it removes volumes in `creating` or `error` after a
while, and finishes deletions. cinderlib also sets `error` on volumes with data, for example after a failed extension.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from csi_cinderlib.backend.columns import update_snapshot, update_volume
from csi_cinderlib.errors import BackendError, InvalidRequest
from csi_cinderlib.model import times
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.records import (
    MULTIATTACH,
    OWN_KEYS,
    REMAINDER,
    YES,
    Attachment,
    InitiatorData,
    KeyValue,
    Snapshot,
    Source,
    SourceKind,
    Status,
    Volume,
    VolumeType,
)
from csi_cinderlib.model.size import GiB

Columns = Mapping[str, Any]
V = TypeVar("V")

_GROUPED = ("group_id", "consistencygroup_id", "group_snapshot_id", "cgsnapshot_id")
_WHOLE = ("available", "in-use", "")
_TENANT = ("project_id", "user_id")
_GIVEN = ("attached_host", "instance_uuid", "mountpoint")
"""Fields of a connection that the caller of cinderlib has set; `cinderlib.connection_record` stores them in the same form."""
_NOT_KEPT = frozenset(
    "host size status ec2_id service_uuid cluster_name shared_targets use_quota scheduled_at launched_at bootable "
    "migration_status previous_status _name_id encryption_key_id volume_type_id progress".split()
)
"""Columns that have a field of their own, or describe Cinder's services."""


def backend_of(host: object) -> str:
    """The name of the back end in Cinder's `host@backend#pool`. Raises InvalidRequest."""
    at, _, _ = str(host or "").partition("#")
    _, is_there, name = at.rpartition("@")
    if not is_there or not name:
        raise InvalidRequest("host", f"must be HOST@BACKEND#POOL (got {str(host or '')!r})")
    return name


def volume_record(columns: Columns, kind: VolumeType | None) -> Volume:
    """The record of a volume, which never counts as new, so that no node formats it. Raises InvalidRequest.

    Args:
        columns: with `metadata` and `admin_metadata` as mappings.
    """
    _refuse_groups(columns)
    host = str(columns.get("host") or "")
    record = Volume(
        id=_id(columns, "id"),
        name=str(columns.get("display_name") or ""),
        backend=backend_of(host),
        pool=host.partition("#")[2],
        host=host,
        size=_size(columns, "size"),
        status=Status.AVAILABLE,
        message=_former(columns),
        source=_source(columns),
        type=kind,
        multiattach=bool(columns.get("multiattach")) or bool(kind and kind.extra_specs.get(MULTIATTACH) == YES),
        blank=False,
        created_at=_created(columns),
    )
    try:
        updated = update_volume(record, _rest(columns))
    except BackendError as error:
        raise InvalidRequest("", str(error)) from None
    admin_metadata = _without_remainder(updated.admin_metadata)
    return replace(updated, admin_metadata=admin_metadata, fields={**updated.fields, **_own(columns)})


def snapshot_record(columns: Columns, backend: str) -> Snapshot:
    """The record of a snapshot. Raises InvalidRequest."""
    _refuse_groups(columns)
    record = Snapshot(
        id=_id(columns, "id"),
        name=str(columns.get("display_name") or ""),
        backend=backend,
        volume_id=_id(columns, "volume_id"),
        size=_size(columns, "volume_size"),
        status=Status.AVAILABLE,
        message=_former(columns),
        created_at=_created(columns),
    )
    try:
        updated = update_snapshot(record, _rest(columns))
    except BackendError as error:
        raise InvalidRequest("", str(error)) from None
    metadata = _without_remainder(updated.metadata)
    return replace(updated, metadata=metadata, fields={**updated.fields, **_own(columns)})


def attachment_record(columns: Columns, backend: str, *, block: bool) -> Attachment:
    """The record of a connection.

    Args:
        block: the volume is used as a raw block device.

    Raises:
        InvalidRequest: a value is missing, or its JSON cannot be read.
    """
    info = _without_remainder(_json(columns, "connection_info"))
    connector = _json(columns, "connector") or info.get("connector") or {}
    answer = info.get("conn") or ({key: info[key] for key in info if key != "connector"} if "data" in info else {})
    if not answer:
        raise InvalidRequest("connection_info", "has no connection data; it cannot be used or disconnected")
    if not connector:
        raise InvalidRequest("connector", "is missing; the back end cannot be told which host to disconnect")
    read_only = columns.get("attach_mode") == "ro"
    given = {name: str(columns[name]) for name in _GIVEN if columns.get(name)}
    extra = {"device": info.get("device"), "given": given}
    return Attachment(
        id=_id(columns, "id"),
        volume_id=_id(columns, "volume_id"),
        backend=backend,
        node_id=str(connector.get("host") or columns.get("attached_host") or ""),
        access_mode=AccessMode.SINGLE_NODE_READER_ONLY if read_only else AccessMode.SINGLE_NODE_WRITER,
        read_only=read_only,
        block=block,
        status=Status.AVAILABLE,
        connector=connector,
        connection_info={**answer, **{name: value for name, value in extra.items() if value}},
        created_at=_created(columns),
    )


def attached(volume: Volume, attachments: Iterable[Attachment]) -> Volume:
    """The volume with the marks of its attachments, as `lifecycle.attachments` sets them."""
    writable = [attachment for attachment in attachments if not attachment.read_only]
    return replace(volume, raw=volume.raw or any(attachment.block for attachment in writable))


def key_value(key: object, value: object) -> KeyValue:
    """Raises InvalidRequest: the key is missing or reserved."""
    id = str(key if key is not None else "")
    if not id or id.startswith(OWN_KEYS):
        raise InvalidRequest(
            "key", "must not be empty" if not id else f"must not begin with {OWN_KEYS}, which is reserved"
        )
    return KeyValue(id=id, value="" if value is None else str(value))


def initiator_data(columns: Columns) -> InitiatorData:
    """Raises InvalidRequest."""
    initiator, namespace, key = (_id(columns, name) for name in ("initiator", "namespace", "key"))
    value = str(columns.get("value") or "")
    return InitiatorData(
        id=initiator_id(initiator, namespace, key), initiator=initiator, namespace=namespace, key=key, value=value
    )


def initiator_id(initiator: str, namespace: str, key: str) -> str:
    """The id of an InitiatorData."""
    return "\x1f".join((initiator, namespace, key))


def moment(value: object) -> str:
    """A time as in records, or "" if there is none. Cinder's times are in UTC and have no zone."""
    if not value:
        return ""
    try:
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    return times.stamp(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def _created(columns: Columns) -> str:
    value = columns.get("created_at")
    created = moment(value)
    if value and not created:
        raise InvalidRequest("created_at", f"must be a time, such as 2024-01-31 12:00:00 (got {value!r})")
    return created


def _refuse_groups(columns: Columns) -> None:
    for name in _GROUPED:
        if columns.get(name):
            raise InvalidRequest(name, "groups of Cinder cannot be adopted")


def _rest(columns: Columns) -> dict[str, Any]:
    """The columns of the driver, such as `provider_location`; unset ones are omitted."""
    return {name: value for name, value in columns.items() if name not in _NOT_KEPT and value is not None}


def _own(columns: Columns) -> dict[str, object]:
    """The fields that Cinder's objects have and drivers do not set: the tenant, and the id in the name on the storage."""
    kept: dict[str, object] = {
        name: str(columns[name]) for name in (*_TENANT, "encryption_key_id") if columns.get(name)
    }
    if name_id := columns.get("_name_id"):
        kept["_name_id"] = str(name_id)
    if columns.get("bootable"):
        kept["bootable"] = True
    return kept


def _without_remainder(values: Mapping[str, V]) -> dict[str, V]:
    """Without the key that this program adds to the objects of a plugin. It describes the record that the object was made of."""
    return {key: value for key, value in values.items() if key != REMAINDER}


def _id(columns: Columns, name: str) -> str:
    value = str(columns.get(name) or "")
    if not value:
        raise InvalidRequest(name, "must not be empty")
    return value


def _size(columns: Columns, name: str) -> GiB:
    value = columns.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequest(name, f"must be a whole number of GiB of at least 1 (got {value!r})")
    return GiB(value)


def _former(columns: Columns) -> str:
    status = str(columns.get("status") or "")
    return "" if status in _WHOLE else f"its status was {status!r} when it was adopted; check it before use"


def _source(columns: Columns) -> Source | None:
    if columns.get("snapshot_id"):
        return Source(SourceKind.SNAPSHOT, str(columns["snapshot_id"]))
    if columns.get("source_volid"):
        return Source(SourceKind.VOLUME, str(columns["source_volid"]))
    return None


def _json(columns: Columns, name: str) -> dict[str, Any]:
    """A column with a JSON object as text, or parsed already. Raises InvalidRequest without the text, which contains secrets."""
    value = columns.get(name)
    if isinstance(value, str | bytes) and value:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidRequest(name, "is not valid JSON") from None
    if value and not isinstance(value, Mapping):
        raise InvalidRequest(name, "must be a JSON object")
    return dict(value or {})
