"""Convert records to Cinder's versioned objects, once per driver call, without further database access."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from typing import Any

from csi_cinderlib.cinder import filling, rows
from csi_cinderlib.cinder.work import Work
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Volume

_ASSIGNED = ("provider_location", "provider_id", "metadata")
"""Where drivers store an id assigned by the array. qnap.py uses the metadata, also through `volume_metadata`."""
_TEMPORARY = "temporary"
"""A key that Cinder removes from the administrator's metadata whenever it reads a volume."""
_OF_IMPORTS = {"is_static": False, "own_name": "", "place": "", "object_id": ""}
_IN_JSON = ("connector", "connection_info")


def admin_context() -> Any:
    """Cinder's request context of the administrator, the only caller."""
    from cinder import context

    return context.RequestContext(
        user_id=rows.PROJECT, project_id=rows.PROJECT, is_admin=True, overwrite=False, read_deleted="no"
    )


def volume_object(context: Any, work: Work, volume: Volume) -> Any:
    """Cinder's Volume; its snapshots and group are loaded on access."""
    from cinder import objects

    row = rows.volume_row(volume, work.attachments(volume.id))
    made = filling.make(
        _watched(objects.Volume),
        context,
        row,
        related={
            "volume_type": row["volume_type"] and _type_object(context, row["volume_type"]),
            "volume_attachment": _attachment_list(context, row["volume_attachment"]),
        },
        metadata=row["metadata"],
        admin_metadata={name: value for name, value in row["admin_metadata"].items() if name != _TEMPORARY},
        glance_metadata={pair["key"]: pair["value"] for pair in row["volume_glance_metadata"]},
    )
    return named(made, volume)


def named(versioned: Any, record: Volume | Snapshot) -> Any:
    """The object with its name on the back end, since a static import keeps its own, and what it certainly is (see `identity`)."""
    if record.imported is not None:
        versioned.place, versioned.object_id = record.imported.place, record.imported.object_id
        versioned.is_static = record.imported.static
        versioned.own_name = record.imported.name if record.imported.static else ""
    return versioned


def _attachment_list(context: Any, attached: Iterable[rows.Row]) -> Any:
    from cinder import objects

    made = [attachment_object(context, row) for row in attached]
    return filling.make(objects.VolumeAttachmentList, context, {}, objects=made)


def type_object(context: Any, volume: Volume) -> Any:
    """Cinder's VolumeType of the volume, or None."""
    row = rows.type_row(volume)
    return row and _type_object(context, row)


def _type_object(context: Any, row: rows.Row) -> Any:
    from cinder import objects

    return objects.VolumeType._from_db_object(context, objects.VolumeType(), row, expected_attrs=["extra_specs"])


def attachment_object(context: Any, row: rows.Row) -> Any:
    """Cinder's VolumeAttachment without its volume."""
    from cinder import objects

    columns = {name: value and json.loads(value) for name, value in row.items() if name in _IN_JSON}
    return filling.make(objects.VolumeAttachment, context, row, **columns)


def snapshot_object(context: Any, work: Work, snapshot: Snapshot, volume: Any = None) -> Any:
    """Cinder's Snapshot with its volume; `volume` is that object if it exists already."""
    from cinder import objects

    record = work.volume(snapshot.volume_id)
    row = rows.snapshot_row(snapshot, record)
    if volume is None:
        volume = volume_object(context, work, record)
    made = filling.make(_watched(objects.Snapshot), context, row, related={"volume": volume}, metadata=row["metadata"])
    return named(made, snapshot)


@functools.cache
def _watched(kind: Any) -> Any:
    """A subclass of Cinder's class that records reads of a missing assigned id, and may have a name of its own (`own_name`)."""

    def watch(name: str) -> property:
        plain = getattr(kind, name)

        def read(versioned: Any) -> Any:
            value = plain.fget(versioned)
            if not value:
                versioned.missed_id = True
            return value

        return property(read, plain.fset, plain.fdel)

    watched = {name: watch(name) for name in _ASSIGNED if name in kind.fields}
    name = property(lambda versioned: versioned.own_name or kind.name.fget(versioned))
    return type(kind.__name__, (kind,), {**_OF_IMPORTS, "missed_id": False, "name": name, **watched})


def group_object(context: Any, group: Group, volumes: Iterable[Any] = ()) -> Any:
    from cinder import objects

    members = list(volumes)
    row = rows.group_row(group, [member.volume_type_id for member in members if member.volume_type_id])
    versioned = objects.Group._from_db_object(context, objects.Group(context), row)
    versioned.volumes = objects.VolumeList(context, objects=members)
    versioned.volume_types = objects.VolumeTypeList(
        context, objects=[member.volume_type for member in members if member.volume_type]
    )
    versioned.obj_reset_changes()
    return versioned


def group_snapshot_object(context: Any, snapshot: GroupSnapshot, group: Any, snapshots: Iterable[Any] = ()) -> Any:
    from cinder import objects

    row = rows.group_snapshot_row(snapshot)
    versioned = objects.GroupSnapshot._from_db_object(context, objects.GroupSnapshot(context), row)
    versioned.group = group
    versioned.snapshots = objects.SnapshotList(context, objects=list(snapshots))
    versioned.obj_reset_changes()
    return versioned
