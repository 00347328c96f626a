"""The dictionaries that the library returns or accepts, with their keys.

They are plain dictionaries at run time. Arguments of methods accept any mapping, so that data from JSON can be passed as they are.
`Required` are the keys that Cinder or os-brick demand of every driver or host.
Sources: os-brick's documentation of connector properties, and "Volume Stats" in Cinder's guide for developers of drivers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Required, TypeAlias, TypedDict

Json: TypeAlias = dict[str, Any]
"""What `json` returns: text, numbers, None, lists and mappings of them. `Any`, as in `json.loads`, so that it can be indexed."""
JsonSource: TypeAlias = str | Mapping[str, Any]
"""The output of `json` or `dump`, as text or parsed."""

_SystemUuid = TypedDict("_SystemUuid", {"system uuid": str}, total=False)


class ConnectorProperties(_SystemUuid, total=False):
    """What a driver needs to know about a host. A key is missing if the host does not have the property."""

    host: Required[str]
    ip: Required[str]
    platform: Required[str]
    os_type: Required[str]
    multipath: Required[bool]
    enforce_multipath: bool
    do_local_attach: bool
    initiator: str
    """The host's iSCSI qualified name."""
    wwpns: list[str]
    wwnns: list[str]
    nqn: str
    nvme_hostid: str
    nvme_native_multipath: bool
    uuid: str
    found_dsc: str
    """Of LightOS: `found` if the discovery client runs."""
    host_ips: list[str]
    """Of LightOS."""
    mountpoint: str


class ConnectionInfo(TypedDict, total=False):
    """A driver's connection info. It is empty after `disconnect`."""

    driver_volume_type: Required[str]
    """`iscsi`, `fibre_channel`, `nvmeof`, `rbd`, `nfs`, `local` ..."""
    data: Required[dict[str, Any]]
    """By driver: `target_portal`, `target_iqn`, `target_lun`, `auth_password` ..."""


class Device(TypedDict, total=False):
    """A device as described by os-brick or by this library. Some keys depend on the protocol."""

    type: str
    path: Required[str]
    scsi_wwn: str
    multipath_id: str
    wwid: str
    multipath: bool
    file: str
    info: dict[str, Any]


class Attached(TypedDict, total=False):
    """`Connection.connection_info`."""

    conn: Required[ConnectionInfo]
    connector: Required[ConnectorProperties]
    device: Device


class _Capabilities(TypedDict, total=False):
    allocated_capacity_gb: float
    provisioned_capacity_gb: float
    reserved_percentage: int
    max_over_subscription_ratio: float | str
    thin_provisioning_support: bool
    thick_provisioning_support: bool
    total_volumes: int
    multiattach: bool
    QoS_support: bool
    online_extend_support: bool
    consistencygroup_support: bool
    consistent_group_snapshot_enabled: bool
    consistent_group_replication_enabled: bool
    replication_enabled: bool
    replication_type: list[str]
    replication_count: int
    replication_targets: list[str]
    location_info: str | None
    filter_function: str | None
    goodness_function: str | None
    backend_state: str
    """`up` or `down`."""


class Pool(_Capabilities, total=False):
    """A pool of `Stats`."""

    pool_name: Required[str]
    total_capacity_gb: Required[float | str]
    """In GiB; or `unknown` or `infinite`."""
    free_capacity_gb: Required[float | str]
    """In GiB; or `unknown` or `infinite`."""
    storage_protocol: str | list[str]


class Stats(_Capabilities, total=False):
    """`Backend.stats`: a driver's report. A driver may add keys of its own: `get` accepts any key."""

    volume_backend_name: Required[str]
    vendor_name: Required[str]
    driver_version: Required[str]
    storage_protocol: Required[str | list[str]]
    pools: Required[list[Pool]]
    total_capacity_gb: float | str
    free_capacity_gb: float | str
    sparse_copy_volume: bool
    shared_targets: bool


class DriverDescription(TypedDict):
    """A driver in `list_supported_drivers`."""

    class_name: str
    class_fqn: str
    version: str | None
    ci_wiki_name: str | None
    desc: str | None
    supported: bool
    driver_options: list[dict[str, Any]]
    """The options' attributes in oslo.config, as text in version 1 and with their types in version 2."""


class _NewObject(TypedDict, total=False):
    id: str
    display_name: str | None
    display_description: str | None
    metadata: Mapping[str, str] | None
    user_id: str | None
    project_id: str | None
    use_quota: bool
    encryption_key_id: str | None
    volume_type_id: str | None
    provider_id: str | None
    provider_location: str | None
    provider_auth: str | None


class _NewVolume(_NewObject, total=False):
    extra_specs: Mapping[str, object] | None
    qos_specs: Mapping[str, object] | None
    admin_metadata: Mapping[str, str] | None
    availability_zone: str | None
    ec2_id: str | None
    host: str | None
    """`host@backend#pool`."""
    launched_at: datetime | None
    migration_status: str | None
    multiattach: bool
    provider_geometry: str | None
    replication_driver_data: str | None
    replication_extended_status: str | None
    replication_status: str | None
    scheduled_at: datetime | None
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

    volume_id: str
    volume_size: int
    """In GiB."""


class SnapshotArguments(NewSnapshot, total=False):
    """Keyword arguments of `Snapshot`."""

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
