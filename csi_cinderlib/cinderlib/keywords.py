"""The keyword arguments of the library's methods, for type checkers and editors: fields of Cinder's objects. Others are refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias, TypedDict

_Time: TypeAlias = datetime | str | None
"""Text in ISO 8601; without a time zone it is UTC."""


class _NewObject(TypedDict, total=False):
    id: str
    display_name: str | None
    display_description: str | None
    metadata: Mapping[str, object] | None
    created_at: _Time
    updated_at: _Time
    deleted_at: _Time
    status: str | None
    user_id: str | None
    project_id: str | None
    use_quota: bool
    encryption_key_id: str | None
    provider_id: str | None
    provider_location: str | None
    provider_auth: str | None


class _NewVolume(_NewObject, total=False):
    extra_specs: Mapping[str, object] | None
    qos_specs: Mapping[str, object] | None
    volume_type: object
    """Cinder's VolumeType, instead of the specs."""
    admin_metadata: Mapping[str, object] | None
    glance_metadata: Mapping[str, object] | None
    attach_status: str | None
    """`attached`, `detached` ..."""
    availability_zone: str | None
    cluster_name: str | None
    ec2_id: str | None
    host: str | None
    """`host@backend#pool`."""
    launched_at: _Time
    migration_status: str | None
    multiattach: bool
    previous_status: str | None
    provider_geometry: str | None
    replication_driver_data: str | None
    replication_extended_status: str | None
    replication_status: str | None
    scheduled_at: _Time
    terminated_at: _Time
    service_uuid: str | None
    shared_targets: bool | None
    _name_id: str | None


class _Source(TypedDict, total=False):
    snapshot_id: str | None
    source_volid: str | None


class NewVolume(_NewVolume, _Source, total=False):
    """Keyword arguments of `Backend.create_volume`."""

    pool_name: str | None


class _NamedVolume(_NewVolume, total=False):
    size: int
    """In GiB."""
    name: str | None
    description: str | None
    bootable: bool


class VolumeArguments(_NamedVolume, _Source, total=False):
    """Keyword arguments of `Volume`."""


class CopiedVolume(_NamedVolume, total=False):
    """Keyword arguments of `Volume.clone` and `Snapshot.create_volume`. By default they are the source's."""

    pool_name: str | None


class NewSnapshot(_NewObject, total=False):
    """Keyword arguments of `Volume.create_snapshot`."""

    progress: str | None
    volume_size: int
    """In GiB."""


class SnapshotArguments(NewSnapshot, total=False):
    """Keyword arguments of `Snapshot`."""

    backend: object
    """The volume's back end or its name; otherwise refused."""
    name: str | None
    description: str | None


class NewConnection(TypedDict, total=False):
    """Keyword arguments of `Volume.connect`."""

    id: str
    attach_mode: str
    """`rw` or `ro`."""
    attached_host: str | None
    instance_uuid: str | None
    mountpoint: str | None
    use_multipath: bool | None
    device_scan_attempts: int | None
    ciphertext: bool
    """Connect the device itself of a volume that nodes encrypt. This library does not decrypt it."""


class ConstructedConnection(NewConnection, total=False):
    """Keyword arguments of `Connection`."""

    volume_id: str
    connector: Mapping[str, object] | None
    connection_info: Mapping[str, object] | None
