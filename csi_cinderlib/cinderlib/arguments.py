"""The records of new volumes and snapshots, from the arguments of `Volume(...)` and `Snapshot(...)`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from csi_cinderlib.cinder import versioned
from csi_cinderlib.cinderlib import checks, fields
from csi_cinderlib.cinderlib.creations import now
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records
from csi_cinderlib.model.records import VolumeType
from csi_cinderlib.model.size import GiB

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Library

_COPIED = (
    "availability_zone bootable cluster_name display_description encryption_key_id glance_metadata project_id service_uuid "
    "shared_targets use_quota user_id"
).split()
"""Fields that a new volume takes from another one, besides columns of the record. Not identities (`_name_id`, `ec2_id`), provider and
replication data and `admin_metadata`, which belong to the object on the storage, nor states and times."""
_SPECS = frozenset({"extra_specs", "qos_specs", "volume_type"})
_LONG_NAMES: Mapping[str, str] = MappingProxyType({"name": "display_name", "description": "display_description"})


def like(record: records.Volume) -> dict[str, Any]:
    """The arguments for a new volume like this one."""
    kind = record.type or VolumeType()
    return {
        **{name: record.fields[name] for name in _COPIED if record.fields.get(name) is not None},
        "name": record.name or record.fields.get("display_name"),
        "size": int(record.size),
        "metadata": dict(record.metadata),
        "multiattach": record.multiattach,
        "extra_specs": dict(kind.extra_specs),
        "qos_specs": dict(kind.qos_specs),
    }


def volume_record(library: Library, backend: Backend, pool: str, kwargs: Mapping[str, Any]) -> records.Volume:
    """The record of a new volume. Raises InvalidRequest."""
    pool = checks.text("pool_name", pool)
    kind = _type(kwargs)
    given = _given(records.Volume, {name: value for name, value in kwargs.items() if name not in _SPECS})
    created_at = given.pop("created_at", None)
    record = records.Volume(
        id=_id(given),
        backend=backend.id,
        pool=pool,
        host=f"{library.host}@{backend.id}#{pool}" if pool else "",
        size=GiB(1),
        type=kind,
        multiattach=fields.is_shared(kind),
        created_at=fields.moment(created_at) or now(),
    )
    if not given.get("multiattach"):
        given.pop("multiattach", None)  # the type may ask for it as well
    return fields.set_volume(record, {**given, **_tenant(library, given)})


def _type(kwargs: Mapping[str, Any]) -> VolumeType | None:
    """The type from the specs, or from Cinder's VolumeType."""
    extra, qos, given = (kwargs.get(name) for name in ("extra_specs", "qos_specs", "volume_type"))
    if given is None:
        return fields.volume_type(extra, qos)
    if extra or qos:
        raise InvalidRequest("volume_type", "must not be given together with extra_specs or qos_specs")
    if not hasattr(given, "obj_attr_is_set"):
        raise InvalidRequest("volume_type", f"must be an object of Cinder, or pass extra_specs (got {given!r})")
    return versioned.type_from(given)


def snapshot_record(library: Library, volume: records.Volume, kwargs: Mapping[str, Any]) -> records.Snapshot:
    """The record of a new snapshot. Raises InvalidRequest."""
    of_volume = {name: volume.fields.get(name) for name in ("project_id", "user_id")}
    given = _given(records.Snapshot, {**of_volume, **kwargs})
    created_at = given.pop("created_at", None)
    record = records.Snapshot(
        id=_id(given),
        backend=volume.backend,
        volume_id=volume.id,
        size=volume.size,
        created_at=fields.moment(created_at) or now(),
    )
    return fields.set_snapshot(record, {**given, **_tenant(library, given)})


def _id(given: dict[str, Any]) -> str:
    """Remove the id from the arguments, or make one."""
    return checks.identity("id", given.pop("id", None) or uuid.uuid4())


def _given(kind: type[records.Volume] | type[records.Snapshot], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by the names of Cinder's fields. None means that an argument is not given."""
    named = {name: value for name, value in kwargs.items() if name not in _LONG_NAMES}
    named |= {long: kwargs[short] for short, long in _LONG_NAMES.items() if short in kwargs}
    return fields.checked(kind, {name: value for name, value in named.items() if value is not None})


def _tenant(library: Library, given: Mapping[str, Any]) -> dict[str, Any]:
    """The project and user fields of a record."""
    return {
        "project_id": given.get("project_id") or library.project_id,
        "user_id": given.get("user_id") or library.user_id,
    }
