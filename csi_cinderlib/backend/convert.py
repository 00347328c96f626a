"""Records as Cinder's versioned objects, built once per call into a driver, without asking the database again."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from csi_cinderlib.backend import rows
from csi_cinderlib.backend.work import Work
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Volume

_ASSIGNED = ("provider_location", "provider_id", "metadata")
"""Where drivers keep the id that an array assigned to an object; in the metadata qnap.py does, by way of `volume_metadata`, too."""
_VOLUME_ATTRIBUTES = ["metadata", "admin_metadata", "glance_metadata", "volume_type", "volume_type.extra_specs"]


def admin_context() -> Any:
    """Cinder's request context of the one caller that exists, the administrator."""
    from cinder import context

    return context.RequestContext(
        user_id=rows.PROJECT, project_id=rows.PROJECT, is_admin=True, overwrite=False, read_deleted="no"
    )


def volume_object(context: Any, work: Work, volume: Volume) -> Any:
    """Cinder's Volume; its snapshots and group are loaded when a driver asks for them."""
    from cinder import objects

    row = rows.volume_row(volume, work.attachments(volume.id))
    empty = _watched(objects.Volume)(context)
    made = objects.Volume._from_db_object(context, empty, row, expected_attrs=_VOLUME_ATTRIBUTES)
    attached = [
        objects.VolumeAttachment._from_db_object(context, objects.VolumeAttachment(context), one)
        for one in row["volume_attachment"]
    ]
    made.volume_attachment = objects.VolumeAttachmentList(context, objects=attached)
    made.obj_reset_changes(["volume_attachment"])
    if made.volume_type_id is None:
        made.volume_type = None  # so that no driver asks the database for it
        made.obj_reset_changes(["volume_type"])
    return made


def snapshot_object(context: Any, work: Work, snapshot: Snapshot, volume: Any = None) -> Any:
    """Cinder's Snapshot with its volume in it; `volume` if that object exists already."""
    from cinder import objects

    record = work.volume(snapshot.volume_id)
    row = rows.snapshot_row(snapshot, record)
    empty = _watched(objects.Snapshot)(context)
    made = objects.Snapshot._from_db_object(context, empty, row, expected_attrs=["metadata"])
    made.volume = volume if volume is not None else volume_object(context, work, record)
    made.obj_reset_changes(["volume"])
    return made


@functools.cache
def _watched(kind: Any) -> Any:
    """Cinder's class with a memory: an object of it knows that its assigned id was read and was not there."""

    def watch(name: str) -> property:
        plain = getattr(kind, name)

        def read(made: Any) -> Any:
            value = plain.fget(made)
            if not value:
                made.missed_id = True
            return value

        return property(read, plain.fset, plain.fdel)

    return type(
        kind.__name__, (kind,), {"missed_id": False, **{name: watch(name) for name in _ASSIGNED if name in kind.fields}}
    )


def group_object(context: Any, group: Group, volumes: Iterable[Any] = ()) -> Any:
    from cinder import objects

    members = list(volumes)
    row = rows.group_row(group, [one.volume_type_id for one in members if one.volume_type_id])
    made = objects.Group._from_db_object(context, objects.Group(context), row)
    made.volumes = objects.VolumeList(context, objects=members)
    made.volume_types = objects.VolumeTypeList(context, objects=[one.volume_type for one in members if one.volume_type])
    made.obj_reset_changes()
    return made


def group_snapshot_object(context: Any, snapshot: GroupSnapshot, group: Any, snapshots: Iterable[Any] = ()) -> Any:
    from cinder import objects

    row = rows.group_snapshot_row(snapshot)
    made = objects.GroupSnapshot._from_db_object(context, objects.GroupSnapshot(context), row)
    made.group = group
    made.snapshots = objects.SnapshotList(context, objects=list(snapshots))
    made.obj_reset_changes()
    return made
