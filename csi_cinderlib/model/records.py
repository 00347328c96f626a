"""What is remembered of the things on the back ends: one frozen dataclass per kind of record.

Every record has an `id`, unique in its kind, and a `revision`, set by the store ("" before it is stored).
Times are UTC, ISO 8601 with microseconds and a trailing Z. Mappings hold JSON values only.
`unknown` holds what a newer version of this program stored and this one does not know: kept as it is, never used.
Fields flagged with SECRET are sealed by every store that was given a sealer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from csi_cinderlib.model.capability import AccessMode, Capability
from csi_cinderlib.model.size import GiB


class _Nothing(dict[str, Any]):
    """An empty mapping that stays empty. Python 3.11 refuses a MappingProxyType as a dataclass default: it has no hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none; this one never changes
        return 0

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("this mapping is a shared default: make a new one")

    __setitem__ = __ior__ = setdefault = update = _refuse


EMPTY: Mapping[str, str] = _Nothing()
NOTHING: Mapping[str, object] = _Nothing()
OWN_KEYS = "csi-cinderlib."
"""The ids of key-values that begin so are this program's; the library's users neither see nor change them."""
MULTIATTACH = "multiattach"
"""The extra spec of volumes that several nodes may attach at once; its value is YES."""
YES = "<is> True"
"""Cinder's spelling of a capability that is required."""
SECRET: Mapping[str, object] = MappingProxyType({"secret": True})
"""The metadata of a dataclass field that may hold credentials."""


STORED: Mapping[str, bool] = MappingProxyType({"stored": True})
"""The metadata of a dataclass field whose default is for new records only: a stored one without it cannot be read."""


class Status(enum.StrEnum):
    """Where a volume, snapshot or attachment stands. An intent is finished or undone by a retry.

    AVAILABLE and DELETED are no intents. A DELETED volume is gone from its back end. Its record stays, seen by nobody but its
    snapshots, until the last of them is deleted.
    """

    CREATING = "creating"
    AVAILABLE = "available"
    EXTENDING = "extending"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What the driver told us to keep (its model_update) and wants back with every later call."""

    location: str | None = None
    auth: str | None = field(default=None, repr=False, metadata=SECRET)
    """CHAP credentials and the like: sealed by every store."""
    id: str | None = None
    geometry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeType:
    """Cinder's volume type as its drivers look it up: extra specs, and QoS for the back end or the front end.

    Each volume carries its own; `name` is that of the named type in the configuration, or "".

    Attributes:
        extra_specs: what a driver is told about such a volume.
        qos_specs: limits and guarantees.
        qos_consumer: who keeps them: `back-end` (the driver), `front-end` (the node), or `both`.
    """

    name: str = ""
    extra_specs: Mapping[str, str] = EMPTY
    qos_specs: Mapping[str, str] = EMPTY
    qos_consumer: str = "back-end"


class SourceKind(enum.StrEnum):
    SNAPSHOT = "snapshot"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Source:
    """What a volume was made from."""

    kind: SourceKind
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume.

    Attributes:
        name: what CreateVolume called it (the idempotency key), or the library user's name.
        host: Cinder's `host@backend#pool`.
        parameters: StorageClass parameters as asked, without the sidecars' own keys; compared when the call is repeated.
        blank: the durable "never formatted" mark. True from creation (for a copy only with `source_blank`) until the
            first attachment takes it over, so that one node at most may ever treat the device as new.
        mark_void: an attachment that may write has followed the one that took the mark, so that nobody gives the mark back.
        source_blank: its source had the mark still when it had been copied: it began as empty as a volume without a source.
        raw: it has been attached as a raw block device that may be written to. What is on it then is not known to anybody
            here, so that no node ever makes a file system on it.
        owner: the controller process that works on a record whose status is an intent.
        unfinished: its creation never came to an end, so that it is not whole also when its deletion was refused.
        name_taken: what the back end said when it refused to create it because of an object of that name. That object is not
            this volume's, and is never touched.
        fields: all other columns of Cinder's volume that a driver may set (replication_driver_data, say).
        labels: names of the claim and the like, for people.
    """

    id: str
    name: str = ""
    backend: str
    pool: str = ""
    host: str = ""
    size: GiB
    status: Status = field(default=Status.CREATING, metadata=STORED)
    message: str = ""
    source: Source | None = None
    type: VolumeType | None = None
    capabilities: tuple[Capability, ...] = ()
    parameters: Mapping[str, str] = EMPTY
    mutable_parameters: Mapping[str, str] = EMPTY
    blank: bool = False
    mark_void: bool = False
    source_blank: bool = False
    raw: bool = False
    multiattach: bool = False
    provider: Provider = Provider()
    metadata: Mapping[str, str] = EMPTY
    admin_metadata: Mapping[str, str] = EMPTY
    fields: Mapping[str, object] = NOTHING
    labels: Mapping[str, str] = EMPTY
    group_id: str = ""
    owner: str = ""
    unfinished: bool = False
    name_taken: str = ""
    target_size: GiB | None = None
    """While EXTENDING: what the volume is to become. While AVAILABLE: what a growth that failed may have made of it."""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot of a volume.

    Attributes:
        size: the volume's when it was taken.
        blank: the volume had its "never formatted" mark still when the snapshot had been taken.
        unfinished, name_taken: as with a volume.
    """

    id: str
    name: str = ""
    backend: str
    volume_id: str
    size: GiB
    status: Status = field(default=Status.CREATING, metadata=STORED)
    message: str = ""
    parameters: Mapping[str, str] = EMPTY
    provider: Provider = Provider()
    metadata: Mapping[str, str] = EMPTY
    fields: Mapping[str, object] = NOTHING
    labels: Mapping[str, str] = EMPTY
    blank: bool = False
    group_snapshot_id: str = ""
    owner: str = ""
    unfinished: bool = False
    name_taken: str = ""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A volume made reachable from one node (Cinder's volume attachment).

    Attributes:
        connector: the node's connector properties (os-brick), as given to the driver.
        connection_info: the driver's answer: `driver_volume_type` and `data`. Holds CHAP secrets: sealed by every store.
        block: asked for as a raw block device, and not with a file system.
        blank: taken over from the volume: this node is the first to see the device and may format it.
    """

    id: str
    volume_id: str
    backend: str
    node_id: str
    access_mode: AccessMode
    read_only: bool = False
    block: bool = False
    status: Status = field(default=Status.CREATING, metadata=STORED)
    message: str = ""
    connector: Mapping[str, object] = field(default=NOTHING)
    connection_info: Mapping[str, object] = field(default=NOTHING, repr=False, metadata=SECRET)
    blank: bool = False
    owner: str = ""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cinder's generic volume group: volumes that are snapshotted together.

    Attributes:
        volume_ids: the volumes that may be in it on the array, which may delete them with the group.
    """

    id: str
    name: str = ""
    backend: str
    host: str = ""
    volume_ids: tuple[str, ...] = ()
    status: Status = field(default=Status.CREATING, metadata=STORED)
    consistent: bool = False
    fields: Mapping[str, object] = NOTHING
    owner: str = ""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSnapshot:
    """Snapshots taken together; the members are Snapshot records that carry this id. `name_taken` as with a volume."""

    id: str
    name: str = ""
    backend: str
    group_id: str = ""
    snapshot_ids: tuple[str, ...] = ()
    volume_ids: tuple[str, ...] = ()
    status: Status = field(default=Status.CREATING, metadata=STORED)
    message: str = ""
    parameters: Mapping[str, str] = EMPTY
    fields: Mapping[str, object] = NOTHING
    owner: str = ""
    name_taken: str = ""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InitiatorData:
    """What a driver keeps per initiator (Cinder's driver_initiator_data). `id` joins initiator, namespace and key.

    Pure's driver keeps its CHAP passwords here.
    """

    id: str
    initiator: str
    namespace: str
    key: str
    value: str = field(repr=False, metadata=SECRET)
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A named value for the library's users; `id` is the key."""

    id: str
    value: str = field(repr=False, metadata=SECRET)
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a node says of itself; `id` is the node's name.

    Attributes:
        public_key: to which the controller encrypts what the node needs (`envelopes`); "" for a node that has none.
        signers: the controller's public keys, by their ids, with which the node checks that. Written by the controller alone.
    """

    id: str
    connector: Mapping[str, object] = NOTHING
    topology: Mapping[str, str] = EMPTY
    public_key: str = ""
    signers: Mapping[str, str] = EMPTY
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


Record = Volume | Snapshot | Attachment | Group | GroupSnapshot | InitiatorData | KeyValue | Node
