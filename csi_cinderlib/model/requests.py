"""CSI requests, parsed and validated once at the edge.

`csi.requests` creates them; `provisioning` and `node` use them. Secrets and contexts have no repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_cinderlib.model.capability import Capability
from csi_cinderlib.model.records import EMPTY, Source
from csi_cinderlib.model.size import Bytes, SizeRange

SIDECARS = "csi.storage.k8s.io/"
"""The prefix of keys that the Kubernetes sidecars set. They refuse unknown keys with this prefix."""
FS_TYPE = f"{SIDECARS}fstype"
TYPE = "type"
EXTRA_SPECS = "extraSpecs/"
QOS = "qos/"


def below(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    """The values whose keys have the prefix, by key without it."""
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassParameters:
    """A StorageClass's parameters.

    Attributes:
        backend: name of the back end, or "" for the suitable one with the most free space.
        pool: a pool of the back end, or "".
        type: a named volume type of the configuration, or "".
        extra_specs: Cinder extra specs, from keys with the prefix EXTRA_SPECS, without the prefix.
        qos: Cinder QoS specs, from keys with the prefix QOS, without the prefix.
        mkfs_options: extra arguments to mkfs, split as in a shell.
        fs_type: the value of FS_TYPE, or "".
        labels: claim and volume names that the provisioner adds; never compared.
        given: all parameters as given, without the labels; compared when the call is repeated.
    """

    backend: str = ""
    pool: str = ""
    type: str = ""
    extra_specs: Mapping[str, str] = EMPTY
    qos: Mapping[str, str] = EMPTY
    mkfs_options: tuple[str, ...] = ()
    fs_type: str = ""
    labels: Mapping[str, str] = EMPTY
    given: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True)
class Topology:
    """CSI's TopologyRequirement; each item is a set of segments."""

    requisite: tuple[Mapping[str, str], ...] = ()
    preferred: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume:
    name: str
    size: SizeRange = SizeRange()
    capabilities: tuple[Capability, ...]
    parameters: ClassParameters = ClassParameters()
    mutable_parameters: Mapping[str, str] = EMPTY
    source: Source | None = None
    topology: Topology | None = None
    secrets: Mapping[str, str] = field(default=EMPTY, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyVolume:
    """ControllerModifyVolume. Parameters that are not given keep their values; an empty value removes a parameter."""

    volume_id: str
    mutable_parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishVolume:
    """ControllerPublishVolume."""

    volume_id: str
    node_id: str
    capability: Capability
    read_only: bool = False
    volume_context: Mapping[str, str] = field(default=EMPTY, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateCapabilities:
    volume_id: str
    capabilities: tuple[Capability, ...]
    parameters: Mapping[str, str] = EMPTY
    mutable_parameters: Mapping[str, str] = EMPTY
    volume_context: Mapping[str, str] = field(default=EMPTY, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetCapacity:
    capabilities: tuple[Capability, ...] = ()
    parameters: ClassParameters = ClassParameters()
    segments: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSnapshot:
    name: str
    volume_id: str
    parameters: Mapping[str, str] = EMPTY
    labels: Mapping[str, str] = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSnapshots:
    snapshot_id: str = ""
    volume_id: str = ""
    token: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandVolume:
    """ControllerExpandVolume."""

    volume_id: str
    size: SizeRange
    capability: Capability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageVolume:
    volume_id: str
    staging_path: str
    capability: Capability
    publish_context: Mapping[str, str] = field(repr=False)
    volume_context: Mapping[str, str] = field(default=EMPTY, repr=False)
    secrets: Mapping[str, str] = field(default=EMPTY, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePublishVolume:
    volume_id: str
    staging_path: str
    target_path: str
    capability: Capability
    read_only: bool = False
    publish_context: Mapping[str, str] = field(default=EMPTY, repr=False)
    volume_context: Mapping[str, str] = field(default=EMPTY, repr=False)
    secrets: Mapping[str, str] = field(default=EMPTY, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeExpandVolume:
    volume_id: str
    volume_path: str
    staging_path: str = ""
    size: SizeRange = SizeRange()
    capability: Capability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One usage entry of NodeGetVolumeStats."""

    unit: str
    """"bytes" or "inodes"."""
    total: int
    used: int = 0
    available: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """CSI's VolumeCondition."""

    abnormal: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    usage: tuple[Usage, ...]
    condition: Condition


@dataclass(frozen=True, slots=True)
class Expanded:
    size: Bytes
    node_expansion_required: bool
