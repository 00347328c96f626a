"""The attributes that objects of the library take from Cinder, declared for type checkers and editors.

At run time `Object.__getattr__` reads them from Cinder's versioned object and `Backend.__getattr__` from the driver, so these
classes have annotations only. A field may be None if Cinder's may, unless the library always has a value. Tests check both. Other
attributes are available from `_ovo` and `driver`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    from csi_cinderlib.cinderlib.types import Backend, Persistence

MaybeNone: TypeAlias = Any  # the `type` statement needs Python 3.12
"""In a union, for a value that is None in a case that callers usually exclude, as in typeshed: no check for None is required."""

MaybeName: TypeAlias = Any
"""In a union, for a back end that may be only a name, after `setup(fail_on_missing_backend=False)`."""


class QosSpecs:
    """Cinder's quality-of-service specification of a volume type."""

    id: str
    name: str
    consumer: str
    """`back-end`, `front-end` or `both`."""
    specs: dict[str, str]


class VolumeType:
    """Cinder's volume type: the extra specs and the quality of service of one volume."""

    id: str
    name: str | None
    description: str | None
    is_public: bool | None
    projects: list[str] | None
    extra_specs: dict[str, str]
    qos_specs_id: str | None
    qos_specs: QosSpecs | MaybeNone


class Times:
    """The times of a record, in UTC."""

    created_at: datetime
    updated_at: datetime | None
    deleted_at: datetime | None
    deleted: bool


class VolumeFields(Times):
    """The fields of Cinder's volume."""

    ec2_id: str | None
    user_id: str
    project_id: str
    use_quota: bool
    snapshot_id: str | None
    cluster_name: str | None
    cluster: object | None
    host: str
    """`host@backend#pool`; empty before the volume is created."""
    availability_zone: str | None
    status: str
    """`creating`, `available`, `in-use`, `error`, `deleting`, `error_deleting` or `deleted`."""
    attach_status: str
    migration_status: str | None
    scheduled_at: datetime | None
    launched_at: datetime | None
    terminated_at: datetime | None
    display_name: str | None
    display_description: str | None
    provider_id: str | None
    provider_location: str | None
    provider_auth: str | None
    provider_geometry: str | None
    volume_type_id: str | None
    source_volid: str | None
    encryption_key_id: str | None
    consistencygroup_id: str | None
    group_id: str | None
    bootable: bool
    multiattach: bool
    replication_status: str | None
    replication_extended_status: str | None
    replication_driver_data: str | None
    previous_status: str | None
    metadata: dict[str, str]
    admin_metadata: dict[str, str]
    glance_metadata: dict[str, str]
    volume_type: VolumeType | MaybeNone
    volume_attachment: Any
    """Cinder's list of attachments; `connections` has the library's objects."""
    consistencygroup: object | None
    group: object | None
    service_uuid: str | None
    shared_targets: bool

    name_id: str
    """The id in the name on the storage."""
    volume_metadata: list[dict[str, str]]
    """`metadata` as a list of `key` and `value`, for drivers; likewise the next two."""
    volume_admin_metadata: list[dict[str, str]]
    volume_glance_metadata: list[dict[str, str]]


class SnapshotFields(Times):
    """The fields of Cinder's snapshot."""

    user_id: str
    project_id: str
    use_quota: bool
    cgsnapshot_id: str | None
    group_snapshot_id: str | None
    status: str
    """`creating`, `available`, `error`, `deleting`, `error_deleting` or `deleted`."""
    progress: str | None
    volume_size: int
    """The size of the volume when the snapshot was taken, in GiB."""
    display_name: str | None
    display_description: str | None
    encryption_key_id: str | None
    volume_type_id: str | None
    provider_location: str | None
    provider_id: str | None
    metadata: dict[str, str]
    provider_auth: str | None
    cgsnapshot: object | None
    group_snapshot: object | None

    volume_name: str
    """The volume's name on the storage."""


class ConnectionFields(Times):
    """The fields of Cinder's attachment."""

    instance_uuid: str | None
    attached_host: str | None
    mountpoint: str | None
    attach_time: datetime | None
    detach_time: datetime | None
    attach_status: str

    project_id: str
    volume_host: str
    """The volume's `host@backend#pool`."""


class Configuration(Protocol):
    """The options of a driver: attributes by name, with the types that the driver declares."""

    def safe_get(self, value: str) -> Any:
        """The value of an option, or None if the driver does not have it."""

    def __getattr__(self, name: str) -> Any:
        """The value of an option. Raises cfg.NoSuchOptError."""


class SetUpAttributes:
    """The attributes of the class `Backend` that read the set-up. Before it, they are None, and `backends` is empty."""

    backends: ClassVar[Mapping[str, Backend]]
    """The back ends of the set-up, by name."""
    persistence: ClassVar[Persistence]
    """Its metadata."""
    fail_on_missing_backend: ClassVar[bool]
    output_all_backend_info: ClassVar[bool]
    project_id: ClassVar[str]
    user_id: ClassVar[str]
    non_uuid_ids: ClassVar[bool]
    im_root: ClassVar[bool]
    global_initialization: ClassVar[bool]


class DriverFields:
    """The attributes that every driver has. Those of a certain driver are available from `Backend.driver`."""

    configuration: Configuration
    VERSION: str
    CI_WIKI_NAME: str
    SUPPORTED: bool
    SUPPORTS_ACTIVE_ACTIVE: bool
    host: str
    """`host@backend`."""
    initialized: bool
    supported: bool
    capabilities: dict[str, Any]
    pools: list[Any]

    get_version: Callable[[], str]
    get_volume_stats: Callable[..., dict[str, Any]]
    """`get_volume_stats(refresh=False)`: as the driver returns them; `stats` adds a missing pool."""
    check_for_setup_error: Callable[[], None]
