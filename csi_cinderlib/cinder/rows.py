"""Convert records to the rows that Cinder builds its versioned objects from (`backend.columns` is the reverse).

Pure, and without Cinder: a row is a dictionary whose items are also attributes, as in SQLAlchemy.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from csi_cinderlib.backend.columns import PROVIDER
from csi_cinderlib.model import times
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import (
    FOREIGN,
    MULTIATTACH,
    YES,
    Attachment,
    Group,
    GroupSnapshot,
    Provider,
    Snapshot,
    SourceKind,
    Status,
    Volume,
    VolumeType,
)

PROJECT = "csi-cinderlib"
"""The project and user of objects without one; there are no tenants."""

_CONTENTS = uuid.UUID("0d6a54a5-0d5e-4cf1-9c8a-5a2a4a1f7a55")
"""The namespace of ids from contents."""
DEFAULT_TYPE, DEFAULT_TYPE_ID = "__DEFAULT__", "00000000-0000-4000-8000-000000000000"


_SOURCES: Mapping[SourceKind, str] = MappingProxyType(
    {SourceKind.SNAPSHOT: "snapshot_id", SourceKind.VOLUME: "source_volid"}
)


_PROVIDER, _values_of = tuple(PROVIDER), attrgetter(*PROVIDER.values())


class Row(dict[str, Any]):
    """A dictionary with attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def matching(found: Iterable[Row], filters: Mapping[str, Any] | None) -> list[Row]:
    return [row for row in found if all(row.get(key) == value for key, value in (filters or {}).items())]


def served_type(volume: Volume) -> VolumeType | None:
    """The volume's type for drivers: as in Cinder, the extra specs of a multi-attach volume say so."""
    kind = volume.type
    if not volume.multiattach or (kind and MULTIATTACH in kind.extra_specs):
        return kind
    kind = kind or VolumeType()
    return replace(kind, extra_specs={**kind.extra_specs, MULTIATTACH: YES})


def content_id(kind: VolumeType) -> str:
    """The id of a type from its content."""
    return _id(kind.name, kind.extra_specs, kind.qos_specs, kind.qos_consumer)


def qos_id(kind: VolumeType) -> str:
    """The id of QoS specs from their content: drivers name policies on the array by it, and compare it to find changes."""
    return _id(kind.qos_specs, kind.qos_consumer)


def _id(*content: str | Mapping[str, str]) -> str:
    plain = [item if isinstance(item, str) else sorted(item.items()) for item in content]
    return str(uuid.uuid5(_CONTENTS, json.dumps(plain)))


def type_row(volume: Volume) -> Row | None:
    """Cinder's volume type of this volume; its id is the volume's id."""
    kind = served_type(volume)
    if kind is None:
        return None
    qos = qos_row(volume)
    return Row(
        _persistent(""),
        id=volume.id,
        name=kind.name or volume.id,
        description=None,
        is_public=True,
        projects=[],
        extra_specs=dict(kind.extra_specs),
        qos_specs_id=qos and qos["id"],
        qos_specs=qos,
    )


def default_type_row() -> Row:
    """Cinder's default type for volumes without one; it is always present and has no properties."""
    return Row(
        _persistent(""),
        id=DEFAULT_TYPE_ID,
        name=DEFAULT_TYPE,
        description=None,
        is_public=True,
        projects=[],
        extra_specs={},
        qos_specs_id=None,
        qos_specs=None,
    )


def qos_row(volume: Volume) -> Row | None:
    kind = volume.type
    if kind is None or not kind.qos_specs:
        return None
    return Row(
        _persistent(""),
        id=qos_id(kind),
        name=kind.name or volume.id,
        consumer=kind.qos_consumer,
        specs=dict(kind.qos_specs),
    )


def volume_row(volume: Volume, attachments: Iterable[Attachment] = ()) -> Row:
    """Cinder's volume; `attachments` are all attachments of the volume, which determine whether it is in use."""
    attached = [attachment_row(attachment) for attachment in attachments]
    source, glance = volume.source, volume.fields.get("glance_metadata")
    kind = type_row(volume)
    return Row(
        {
            "user_id": PROJECT,
            "project_id": PROJECT,
            "display_name": None,
            "use_quota": True,
            "shared_targets": True,
            "bootable": False,
            "snapshot_id": None,
            "source_volid": None,
            "attach_status": "attached" if any(row.attach_status == "attached" for row in attached) else "detached",
            **_persistent(volume.created_at),
            "updated_at": None,
            **volume.fields,
            **({_SOURCES[source.kind]: source.id} if source else {}),
            **({"display_name": volume.name} if volume.name else {}),
        },
        id=volume.id,
        host=volume.host,
        size=int(volume.size),
        status=_shown_status(volume, in_use=bool(attached)),
        group_id=volume.group_id or None,
        multiattach=volume.multiattach,
        volume_type_id=volume.id if kind else None,
        volume_type=kind,
        volume_attachment=attached,
        metadata=dict(volume.metadata),
        volume_metadata=_pairs(volume.metadata),
        admin_metadata=dict(volume.admin_metadata),
        volume_admin_metadata=_pairs(volume.admin_metadata),
        volume_glance_metadata=_pairs(glance if isinstance(glance, Mapping) else {}),
        **_provider(volume.provider),
    )


def snapshot_row(snapshot: Snapshot, volume: Volume) -> Row:
    return Row(
        {
            "user_id": PROJECT,
            "project_id": PROJECT,
            "display_name": None,
            "progress": "100%" if snapshot.status is Status.AVAILABLE else "0%",
            "use_quota": True,
            **_persistent(snapshot.created_at),
            "updated_at": None,
            **snapshot.fields,
            **({"display_name": snapshot.name} if snapshot.name else {}),
        },
        id=snapshot.id,
        volume_id=snapshot.volume_id,
        volume_size=int(snapshot.size),
        volume_type_id=volume.id if served_type(volume) else None,
        status=_shown_status(snapshot),
        group_snapshot_id=snapshot.group_snapshot_id or None,
        metadata=dict(snapshot.metadata),
        snapshot_metadata=_pairs(snapshot.metadata),
        **_provider(snapshot.provider),
    )


def attachment_row(attachment: Attachment) -> Row:
    """Cinder's attachment. As in Cinder's manager, connector and host are empty until it is complete."""
    is_attached = attachment.status in (Status.AVAILABLE, Status.DELETING)
    return Row(
        _persistent(attachment.created_at),
        id=attachment.id,
        volume_id=attachment.volume_id,
        instance_uuid=None,
        attached_host=str(attachment.connector.get("host", "")) if is_attached else None,
        mountpoint=None,
        attach_time=_moment(attachment.created_at) if is_attached else None,
        attach_status="attached" if is_attached else "attaching",
        attach_mode="ro" if attachment.read_only else "rw",
        connector=json.dumps(dict(attachment.connector)) if is_attached else None,
        connection_info=json.dumps(dict(attachment.connection_info)) if is_attached else None,
    )


def group_row(group: Group, volume_type_ids: Iterable[str] = ()) -> Row:
    return Row(
        dict(group.fields),
        **_persistent(group.created_at),
        id=group.id,
        user_id=PROJECT,
        project_id=PROJECT,
        host=group.host,
        name=group.name,
        group_type_id=group.id,
        volume_type_ids=list(volume_type_ids),
        status=group.status.value,
    )


def group_type_row(group: Group) -> Row:
    specs = {"consistent_group_snapshot_enabled": YES} if group.consistent else {}
    return Row(
        _persistent(""), id=group.id, name=group.name or group.id, description=None, is_public=True, group_specs=specs
    )


def group_snapshot_row(snapshot: GroupSnapshot) -> Row:
    return Row(
        dict(snapshot.fields),
        **_persistent(snapshot.created_at),
        id=snapshot.id,
        user_id=PROJECT,
        project_id=PROJECT,
        name=snapshot.name,
        group_id=snapshot.group_id,
        group_type_id=snapshot.group_id,
        status=snapshot.status.value,
    )


def is_static(volume: Volume) -> bool:
    """Whether it has the name that it had before its import, which does not contain its id."""
    return volume.imported is not None and volume.imported.static


def _pairs(values: Mapping[str, str]) -> list[Row]:
    return [Row(key=key, value=value) for key, value in values.items()]


def _provider(provider: Provider) -> dict[str, str | None]:
    return dict(zip(_PROVIDER, _values_of(provider), strict=True))


def _shown_status(record: Volume | Snapshot, *, in_use: bool = False) -> str:
    """The status that a user of the library has set, unless an operation is in progress; else that of the record."""
    if record.status is Status.IMPORTING:  # Cinder's names; its snapshots have no status of their own for it
        return "managing" if isinstance(record, Volume) else "creating"
    if record.status in FOREIGN:
        return "maintenance" if isinstance(record, Volume) else "available"
    given = record.fields.get("status")
    if given and record.status in (Status.AVAILABLE, Status.ERROR):
        return str(given)
    return "in-use" if in_use and record.status is Status.AVAILABLE else record.status.value


def _moment(stamp: str) -> datetime | None:
    try:
        return times.parse(stamp) if stamp else None
    except ValueError:
        return None


def _persistent(created_at: str) -> dict[str, Any]:
    moment = _moment(created_at)
    return {"created_at": moment, "updated_at": moment, "deleted": False, "deleted_at": None}
