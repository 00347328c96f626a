"""Parameters of StorageClass, VolumeAttributesClass and VolumeSnapshotClass, and their parser.

The table in the documentation is generated from `STORAGE_CLASS`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from csi_cinderlib.config.near import unknown
from csi_cinderlib.csi.requests.fields import mapping
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.host import mkfsoptions
from csi_cinderlib.model.capability import DEFAULT_FILE_SYSTEM, FILE_SYSTEMS, Capability, Mount, find_unsupported
from csi_cinderlib.model.encryption import ENCRYPTION, FORMATS, find_unknown
from csi_cinderlib.model.requests import EXTRA_SPECS, FS_TYPE, QOS, SIDECARS, TYPE, ClassParameters, below

FORCING = frozenset({"-F", "-FF", "-f", "-ff", "--force"})
"""mkfs options that overwrite existing data. Parameters never decide whether a device may be formatted."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a class.

    Attributes:
        key: name of the parameter. A key that ends in "/" is a prefix.
        meaning: description for the reference page.
        example: example of a value.
    """

    key: str
    meaning: str
    example: str

    @property
    def is_prefix(self) -> bool:
        return self.key.endswith("/")


STORAGE_CLASS: Sequence[Parameter] = (
    Parameter("backend", "Back end to use. Default: the fitting back end with the most free space.", "array1"),
    Parameter("pool", "Pool of the back end. Default: the fitting pool with the most free space.", "ssd"),
    Parameter(TYPE, "Volume type of the configuration. Its extra specs and QoS specs apply to the volume.", "gold"),
    Parameter(
        EXTRA_SPECS,
        "Cinder extra spec for the driver, without the prefix. Overrides the value of `type`.",
        "netapp_thin_provisioned: 'true'",
    ),
    Parameter(QOS, "Cinder QoS spec, without the prefix. Overrides the value of `type`.", "maxIOPS: '500'"),
    Parameter(
        "mkfsOptions",
        "Additional arguments for mkfs, split into words as a shell does. Arguments that mkfs cannot use are refused.",
        "-i 65536",
    ),
    Parameter(
        FS_TYPE,
        f"File system: {', '.join(FILE_SYSTEMS)}. Default: {DEFAULT_FILE_SYSTEM}, or the file system of the source for a copy.",
        "xfs",
    ),
    Parameter(
        ENCRYPTION,
        f"Encrypt the volume on its node: {', '.join(FORMATS)}. The key is in the node-stage Secret. Default: no encryption.",
        "luks2",
    ),
)
MODIFIABLE: Sequence[Parameter] = tuple(
    parameter for parameter in STORAGE_CLASS if parameter.key in (TYPE, EXTRA_SPECS, QOS)
)
"""Parameters of a VolumeAttributesClass."""

_OLD_FS_TYPE = ("fstype", "fsType")
"""Names of the parameter before Kubernetes 1.13. The provisioner warns about them and removes them."""


def storage_class(
    values: Mapping[str, str], field: str = "parameters", *, capabilities: Sequence[Capability] = ()
) -> ClassParameters:
    """The parameters of a StorageClass. Keys of the sidecars are kept as labels, which are never compared.

    Args:
        capabilities: capabilities of the volume. Kubernetes passes the file system there, not in the parameters.

    Raises:
        InvalidRequest: a key is unknown (with suggestions), or a value is invalid.
    """
    given, labels = _apart(mapping(values, field))
    fs_type = next((given.pop(key) for key in (FS_TYPE, *_OLD_FS_TYPE) if key in given), "")
    _check_keys(given, STORAGE_CLASS, field)
    if why := find_unsupported(fs_type):
        raise InvalidRequest(f"{field}[{FS_TYPE}]", why)
    if ENCRYPTION in given and (why := find_unknown(given[ENCRYPTION])):
        raise InvalidRequest(f"{field}[{ENCRYPTION}]", why)
    return ClassParameters(
        backend=given.get("backend", ""),
        pool=given.get("pool", ""),
        type=given.get(TYPE, ""),
        extra_specs=below(EXTRA_SPECS, given),
        qos=below(QOS, given),
        mkfs_options=_mkfs_options(
            given.get("mkfsOptions", ""), f"{field}[mkfsOptions]", _file_systems(capabilities, fs_type)
        ),
        fs_type=fs_type,
        labels=labels,
        given=given | ({FS_TYPE: fs_type} if fs_type else {}),
    )


def mutable(values: Mapping[str, str], field: str = "mutable_parameters") -> dict[str, str]:
    """The parameters of a VolumeAttributesClass."""
    given, _labels = _apart(mapping(values, field))
    _check_keys(given, MODIFIABLE, field)
    return given


def snapshot_class(values: Mapping[str, str], field: str = "parameters") -> tuple[dict[str, str], dict[str, str]]:
    """The parameters of a VolumeSnapshotClass or VolumeGroupSnapshotClass (none exist yet), and the labels of the sidecars."""
    given, labels = _apart(mapping(values, field))
    _check_keys(given, (), field)
    return given, labels


def _apart(values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Separate the keys of the administrator from those of the sidecars (`.../pvc/name`, also `...-secret-name` in GetCapacity)."""
    labels = {
        key.removeprefix(SIDECARS): value
        for key, value in values.items()
        if key.startswith(SIDECARS) and key != FS_TYPE
    }
    given = {key: value for key, value in values.items() if not key.startswith(SIDECARS) or key == FS_TYPE}
    return given, labels


def _check_keys(values: Iterable[str], known: Sequence[Parameter], field: str) -> None:
    names = {parameter.key for parameter in known if not parameter.is_prefix}
    prefixes = tuple(parameter.key for parameter in known if parameter.is_prefix)
    for key in values:
        if key in prefixes:
            raise InvalidRequest(f"{field}[{key}]", "must have a name after the prefix")
        if key not in names and not key.startswith(prefixes):
            raise InvalidRequest(field, unknown("parameter", key, {*names, *(f"{prefix}..." for prefix in prefixes)}))


def _file_systems(capabilities: Sequence[Capability], fs_type: str) -> frozenset[str]:
    """The file systems that mkfs may have to create; empty if unknown."""
    kinds = [item.access_type for item in capabilities]
    asked = {kind.fs_type or fs_type or DEFAULT_FILE_SYSTEM for kind in kinds if isinstance(kind, Mount)}
    return frozenset(asked or {fs_type} - {""})


def _mkfs_options(value: str, field: str, file_systems: frozenset[str]) -> tuple[str, ...]:
    if not value:
        return ()
    if "\0" in value:
        raise InvalidRequest(field, "must not contain a NUL character")
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise InvalidRequest(field, f"cannot be split into words: {str(error).lower()}") from None
    if forcing := sorted(FORCING.intersection(words)):
        raise InvalidRequest(
            field, f"not allowed: {', '.join(forcing)}; this driver never formats a device that may hold data"
        )
    if device := next((word for word in words if word.startswith("/dev/")), None):
        raise InvalidRequest(field, f"must not name a device (got {device!r}); the driver chooses it")
    problems = {name: problem for name in FILE_SYSTEMS if (problem := _mkfs_problem(name, words))}
    refused = file_systems.intersection(problems)
    if refused or len(problems) == len(
        FILE_SYSTEMS
    ):  # without a named file system, at least one must accept the options
        raise InvalidRequest(field, problems[min(refused or problems)])
    return words


def _mkfs_problem(fs_type: str, words: Sequence[str]) -> str:
    try:
        mkfsoptions.check(fs_type, words)
    except InvalidRequest as error:
        return error.problem
    return ""
