"""Cinder's versioned objects of records, for use outside of driver calls."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from csi_cinderlib.cinder import convert, filling, rows
from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinder.work import Work, working
from csi_cinderlib.model.records import Attachment, Snapshot, Volume
from csi_cinderlib.persistence.api import Store

NOT_GIVEN = frozenset(
    "attach_status cluster cluster_name consistencygroup consistencygroup_id created_at deleted deleted_at glance_metadata "
    "group group_id snapshots terminated_at updated_at volume_attachment volume_type volume cgsnapshot cgsnapshot_id "
    "group_snapshot group_snapshot_id previous_status progress status".split()
)
"""Fields of Cinder's objects that cannot be set: they are derived from records or operations."""

_SAME_IN_JSON = frozenset({str, int, bool})


def volume(store: Store, record: Volume, attachments: Sequence[Attachment] | None = None) -> Any:
    """Cinder's Volume; its snapshots are loaded on access.

    Args:
        attachments: of the volume, if the caller has newer ones than the store.
    """
    load_cinder()
    work = _work(store, record)
    if attachments is not None:
        work.attached[record.id] = tuple(attachments)
    with working(work):
        volume = convert.volume_object(_context(), work, record)
        if volume.volume_type is not None and volume.volume_type.qos_specs_id:
            volume.volume_type.qos_specs  # noqa: B018  # loads them
        return volume


def snapshot(store: Store, record: Snapshot, of: Volume) -> Any:
    """Cinder's Snapshot with its volume."""
    load_cinder()
    work = _work(store, of)
    with working(work):
        return convert.snapshot_object(_context(), work, record)


def attachment(record: Attachment, connection_info: Mapping[str, Any]) -> Any:
    """Cinder's VolumeAttachment with this `connection_info` instead of the driver's result."""
    load_cinder()
    from cinder import objects

    context = _context()
    row = rows.attachment_row(record)
    attachment = objects.VolumeAttachment._from_db_object(context, objects.VolumeAttachment(context), row)
    attachment.connection_info = dict(connection_info)
    attachment.obj_reset_changes(["connection_info"])
    return attachment


def settable(kind: type[Volume] | type[Snapshot]) -> frozenset[str]:
    """The fields of Cinder's object that can be set on creation."""
    load_cinder()
    from cinder import objects

    return frozenset(getattr(objects, kind.__name__).fields) - NOT_GIVEN


def changes(versioned: Any) -> dict[str, Any]:
    """The changed fields of an object, by column."""
    return {
        name: getattr(versioned, name) for name in filling.changed(versioned) if not _is_object(versioned.fields, name)
    }


def primitive(versioned: Any, without: Iterable[str] = (), _above: frozenset[int] = frozenset()) -> dict[str, Any]:
    """As `obj_to_primitive`, but without nested repetition: a volume's snapshots do not contain the volume again.

    Times keep their microseconds. Fields that are not loaded and the fields in `without` are omitted.
    """
    above = _above | {id(versioned)}
    data: dict[str, Any] = {}
    loaded = vars(versioned)
    for name, field in versioned.fields.items():
        if name in without or (attribute := f"_obj_{name}") not in loaded:
            continue
        value = loaded[attribute]
        if value is None or type(value) in _SAME_IN_JSON:
            data[name] = value
        elif isinstance(value, list) and all(hasattr(item, "obj_to_primitive") for item in value):
            data[name] = [primitive(item, (), above) for item in value if id(item) not in above]
        elif hasattr(value, "obj_to_primitive"):
            if id(value) not in above:
                data[name] = primitive(value, (), above)
        else:
            data[name] = _plain(field, versioned, name, value)
    return {
        "versioned_object.name": versioned.obj_name(),
        "versioned_object.namespace": versioned.OBJ_PROJECT_NAMESPACE,
        "versioned_object.version": versioned.VERSION,
        "versioned_object.data": data,
    }


def _plain(field: Any, versioned: Any, name: str, value: Any) -> Any:
    if hasattr(value, "strftime"):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return field.to_primitive(versioned, name, value)


def _is_object(fields: Mapping[str, Any], name: str) -> bool:
    return "Object" in type(fields[name]).__name__


@functools.cache
def _context() -> Any:
    """The context of all these objects, as in cinderlib: it is larger than an object, and takes long to make."""
    return convert.admin_context()


def _work(store: Store, of: Volume) -> Work:
    return Work(of.backend, store, volumes={of.id: of})
