"""The records of objects on the back ends: one frozen dataclass per kind.

Each record has an `id`, unique in its kind, and a `revision`, set by the store ("" before it is stored).
Times are UTC, ISO 8601 with microseconds and a trailing Z. Mappings contain JSON values only.
`unknown` contains fields that a newer version stored and this version does not know. They are preserved and never used.
Stores with a sealer seal the fields marked with SECRET.
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
    """An immutable empty mapping. Python 3.11 refuses a MappingProxyType as a dataclass default, because it has no hash."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none; this one is immutable
        return 0

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("this mapping is a read-only shared default; create a new one")

    __setitem__ = __ior__ = setdefault = update = _refuse


EMPTY: Mapping[str, str] = _Nothing()
NOTHING: Mapping[str, object] = _Nothing()
OWN_KEYS = "csi-cinderlib."
"""Prefix of the ids of internal key-values; users of the library cannot see or change them."""
REMAINDER = "csi-cinderlib"
"""The key in objects of a persistence plugin of cinderlib with the values that these objects have no field for."""
MULTIATTACH = "multiattach"
"""The extra spec of volumes that can be attached to several nodes; its value is YES."""
YES = "<is> True"
"""Cinder's notation for a required capability."""
SECRET: Mapping[str, object] = MappingProxyType({"secret": True})
"""The metadata of a dataclass field that may contain credentials."""


VOID_IN_COPY: Mapping[str, bool] = MappingProxyType({"void_in_copy": True})
"""The metadata of a statement that only the newest copy of a record can make. A restored copy gets the default, so it says nothing."""

SINCE_2: Mapping[str, int] = MappingProxyType({"since": 2})
"""The metadata of a field that programs of before version 2 must not ignore: they cannot read a record with a value (that `when` accepts)."""

STORED: Mapping[str, bool] = MappingProxyType({"stored": True})
"""The metadata of a dataclass field that stored records must contain; its default is for new records only."""


class Status(enum.StrEnum):
    """The status of a volume, snapshot or attachment. A retry finishes or undoes an intent.

    All values except AVAILABLE and DELETED are intents or failures. A DELETED volume no longer exists on its back end. Its record is kept
    for its snapshots only, until the last one is deleted. An object that is IMPORTING or UNMANAGING existed before its record and
    outlives it: no operation deletes it. One that is ADOPTING, RETURNING or RETURNED still, or again, belongs to an OpenStack Cinder: only
    `csi-cinderlib adopt cinder` changes its record.
    """

    CREATING = "creating"
    IMPORTING = "importing"
    UNMANAGING = "unmanaging"
    ADOPTING = "adopting"
    RETURNING = "returning"
    RETURNED = "returned"
    AVAILABLE = "available"
    EXTENDING = "extending"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"


FOREIGN = (Status.ADOPTING, Status.RETURNING, Status.RETURNED)
"""The object belongs to another program: nothing attaches, copies, changes or deletes it, and no clean-up handles its record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Data of the driver (its model_update), which it gets back with each later call."""

    location: str | None = None
    auth: str | None = field(default=None, repr=False, metadata=SECRET)
    """Credentials such as CHAP, which stores seal."""
    id: str | None = None
    geometry: str | None = field(default=None, metadata={**SINCE_2, "when": lambda text: " " not in str(text)})
    """For the file driver: a sector size other than 4096, without which the content of the volume is out of sight. Others write two numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeType:
    """Cinder's volume type as its drivers see it: extra specs, and QoS for the back end or the front end.

    Each volume has its own copy; `name` is the name of the type in the configuration, or "".

    Attributes:
        extra_specs: properties that the driver evaluates.
        qos_specs: limits and guarantees.
        qos_consumer: which side enforces them: `back-end` (the driver), `front-end` (the node), or `both`.
    """

    name: str = ""
    extra_specs: Mapping[str, str] = EMPTY
    qos_specs: Mapping[str, str] = EMPTY
    qos_consumer: str = "back-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Modification:
    """An unfinished modification of a volume. Each property may still have its old value, or already the wanted one.

    With the same origin and wanted type, it is the mark of a record from a restored copy: the back end may have any values.

    Attributes:
        origin: the type of the volume before it.
        wanted: the type of the volume when it is finished.
        mutable_parameters: those of the volume when it is finished.
        detached: the driver changes the properties only while the volume is not attached, so the volume is not attached meanwhile.
        begun_at: the time of the first attempt.
        message: why the last attempt failed; "" while it runs, or if it was interrupted.
    """

    origin: VolumeType | None = None
    wanted: VolumeType | None = None
    mutable_parameters: Mapping[str, str] = EMPTY
    detached: bool = False
    begun_at: str = ""
    message: str = ""


class SourceKind(enum.StrEnum):
    SNAPSHOT = "snapshot"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a volume."""

    kind: SourceKind
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The origin of a volume or snapshot that existed on the back end before its record.

    Attributes:
        name: its name, or the id that the array assigned, before the import.
        reference: the driver's reference to it before the import (Cinder's `existing_ref`).
        static: it is not managed: it keeps its name, and its deletion removes only the record.
        place: what contained it, for example a directory, in which its name is unique; "" if unknown.
        object_id: what it is, whatever its name: for example the inode of a file; "" if unknown.
        requester: the uid of the VolumeImport that requested it; "" for an administrator's command.
        request: what was requested, by field; compared when the request is repeated.
    """

    name: str
    reference: Mapping[str, str] = EMPTY
    static: bool = False
    place: str = ""
    object_id: str = ""
    requester: str = ""
    request: Mapping[str, object] = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume.

    Attributes:
        name: the name in CreateVolume (the idempotency key), or the name that the library user gave.
        host: Cinder's `host@backend#pool`.
        parameters: requested StorageClass parameters without the sidecars' keys; compared when the call is repeated.
        type: its properties on the back end; during an unfinished modification the last ones that it certainly had.
        mutable_parameters: requested VolumeAttributesClass parameters, as last modified.
        modification: a modification that was started and is not known to be finished or refused.
        began_empty: this program created the volume, without a source or from one that still had the "never formatted" mark
            after the copy. Only such a volume is ever formatted: an adopted one, for example, is not.
        blank: the durable "never formatted" mark. True from the creation of a volume that began empty until the first
            attachment takes the mark, so that at most one node can treat the device as new.
        mark_void: another writable attachment has followed since the mark was taken, so the mark is never given back.
        raw: it has been attached as a writable raw block device. Its content is unknown, so no node may format it.
        owner: the controller process that works on a record whose status is an intent.
        unfinished: its creation was never completed, so the object is incomplete even if its deletion was refused.
        name_taken: the message with which the back end refused the creation because of an object of the same name. That
            object does not belong to this volume and is never touched.
        imported: its origin, if it existed before its record. No node ever formats it.
        adoption: the plan by which it was adopted from an OpenStack Cinder and can be returned to it. Removed for good before a node
            gets access to it, and before the volume is extended, modified or reverted, or an adopted snapshot of it is deleted: from then
            on it cannot be returned.
        encryption: the format in which nodes encrypt the volume (`encryption.FORMATS`), or "". It is that of the source for a copy, and
            never changes.
        header: the UUID of the header of an encrypted volume; that of the source for a copy. "" for any: an imported volume has been
            encrypted elsewhere.
        fields: all other columns of Cinder's volume that a driver may set, for example replication_driver_data.
        labels: information for people, for example the name of the claim.
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
    modification: Modification | None = None
    began_empty: bool = field(default=False, metadata=VOID_IN_COPY)
    blank: bool = field(default=False, metadata=VOID_IN_COPY)
    mark_void: bool = False
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
    imported: Imported | None = field(default=None, metadata=SINCE_2)
    adoption: str = field(default="", metadata={**SINCE_2, **VOID_IN_COPY})
    encryption: str = field(default="", metadata=SINCE_2)
    header: str = field(default="", metadata=SINCE_2)
    target_size: GiB | None = None
    """While EXTENDING: the requested size. While AVAILABLE: the size that a failed extension may have reached."""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot of a volume.

    Attributes:
        size: size of the volume when the snapshot was taken.
        blank: the volume still had its "never formatted" mark after the snapshot was taken.
        unfinished, name_taken, imported, adoption: see `Volume`.
        encryption: that of its volume. Copies take it from the volume; here it stops programs that do not know it.
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
    blank: bool = field(default=False, metadata=VOID_IN_COPY)
    group_snapshot_id: str = ""
    owner: str = ""
    unfinished: bool = False
    name_taken: str = ""
    imported: Imported | None = field(default=None, metadata=SINCE_2)
    adoption: str = field(default="", metadata={**SINCE_2, **VOID_IN_COPY})
    encryption: str = field(default="", metadata=SINCE_2)
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The attachment of a volume to a node (Cinder's volume attachment).

    Attributes:
        connector: the node's connector properties (os-brick), as passed to the driver.
        connection_info: the driver's answer, `driver_volume_type` and `data`. Contains CHAP secrets, which stores seal.
        block: requested as a raw block device instead of a file system.
        blank: the mark taken from the volume: this node is the first to use the device and may format it.
        ciphertext: the caller has asked for the device itself of an encrypted volume, which no node decrypts.
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
    ciphertext: bool = False
    owner: str = ""
    created_at: str = ""
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cinder's generic volume group: volumes that are snapshotted together.

    Attributes:
        volume_ids: volumes that may be in the group on the array. The array may delete them together with the group.
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
    """Snapshots taken together; the members are Snapshot records with this id. For `name_taken` see `Volume`."""

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
    """Data of a driver for an initiator (Cinder's driver_initiator_data). `id` joins initiator, namespace and key.

    Pure's driver stores its CHAP passwords here.
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
    """A named value for users of the library; `id` is the key."""

    id: str
    value: str = field(repr=False, metadata=SECRET)
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The registration of a node; `id` is the name of the node.

    Attributes:
        public_key: the key to which the controller encrypts data for the node (`envelopes`); "" for a node without a key.
        signers: public keys of the controllers by id, with which the node verifies that data. Only controllers write it.
    """

    id: str
    connector: Mapping[str, object] = NOTHING
    topology: Mapping[str, str] = EMPTY
    public_key: str = ""
    signers: Mapping[str, str] = EMPTY
    revision: str = ""
    unknown: Mapping[str, object] = field(default=NOTHING, repr=False)


Record = Volume | Snapshot | Attachment | Group | GroupSnapshot | InitiatorData | KeyValue | Node
