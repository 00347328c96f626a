"""The parameters of StorageClass, VolumeAttributesClass and VolumeSnapshotClass: what exists, and how it is read.

`STORAGE_CLASS` is the reference as data; the documentation's table is made from it.
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
from csi_cinderlib.model.requests import EXTRA_SPECS, FS_TYPE, QOS, SIDECARS, ClassParameters

FORCING = frozenset({"-F", "-FF", "-f", "-ff", "--force"})
"""mkfs options that overwrite what is on a device. Whether a device may be formatted is never a parameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a class.

    Attributes:
        key: its name; one that ends in "/" is a prefix for any names.
        meaning: for the reference, one sentence.
        example: a value.
    """

    key: str
    meaning: str
    example: str

    @property
    def is_prefix(self) -> bool:
        return self.key.endswith("/")


STORAGE_CLASS: Sequence[Parameter] = (
    Parameter("backend", "The back end to use; left out, the one with the most free space that fits.", "array1"),
    Parameter("pool", "A pool of the back end; left out, the one with the most free space that fits.", "ssd"),
    Parameter("type", "A volume type of the configuration: its extra specs and QoS specs.", "gold"),
    Parameter(
        EXTRA_SPECS,
        "A Cinder extra spec for the driver, over those of `type`; the prefix is taken off.",
        "netapp_thin_provisioned: 'true'",
    ),
    Parameter(QOS, "A Cinder QoS spec, over those of `type`; the prefix is taken off.", "maxIOPS: '500'"),
    Parameter(
        "mkfsOptions",
        "More arguments for mkfs, split as a shell splits words; those that mkfs cannot use are refused.",
        "-i 65536",
    ),
    Parameter(
        FS_TYPE,
        f"The file system: {', '.join(FILE_SYSTEMS)}; left out, {DEFAULT_FILE_SYSTEM}, and that of the source for a copy.",
        "xfs",
    ),
)
MODIFIABLE: Sequence[Parameter] = tuple(parameter for parameter in STORAGE_CLASS if parameter.key == QOS)
"""What a VolumeAttributesClass may hold."""

_OLD_FS_TYPE = ("fstype", "fsType")
"""The provisioner's names of the parameter before Kubernetes 1.13; it warns of them, and takes them off as well."""


def storage_class(
    values: Mapping[str, str], field: str = "parameters", *, capabilities: Sequence[Capability] = ()
) -> ClassParameters:
    """A StorageClass's parameters. The sidecars' own keys are kept as labels, which no comparison looks at.

    Args:
        capabilities: what the volume is to be used as: Kubernetes tells the file system there, and not among the parameters.

    Raises:
        InvalidRequest: a key is unknown (names it and those that it may have meant), or a value is wrong.
    """
    given, labels = _apart(mapping(values, field))
    fs_type = next((given.pop(key) for key in (FS_TYPE, *_OLD_FS_TYPE) if key in given), "")
    _check_keys(given, STORAGE_CLASS, field)
    if why := find_unsupported(fs_type):
        raise InvalidRequest(f"{field}[{FS_TYPE}]", why)
    return ClassParameters(
        backend=given.get("backend", ""),
        pool=given.get("pool", ""),
        type=given.get("type", ""),
        extra_specs=_below(EXTRA_SPECS, given),
        qos=_below(QOS, given),
        mkfs_options=_mkfs_options(
            given.get("mkfsOptions", ""), f"{field}[mkfsOptions]", _file_systems(capabilities, fs_type)
        ),
        fs_type=fs_type,
        labels=labels,
        given=given | ({FS_TYPE: fs_type} if fs_type else {}),
    )


def mutable(values: Mapping[str, str], field: str = "mutable_parameters") -> dict[str, str]:
    """A VolumeAttributesClass's parameters."""
    given, _labels = _apart(mapping(values, field))
    _check_keys(given, MODIFIABLE, field)
    return given


def snapshot_class(values: Mapping[str, str], field: str = "parameters") -> tuple[dict[str, str], dict[str, str]]:
    """A VolumeSnapshotClass's or VolumeGroupSnapshotClass's parameters (there are none yet), and the sidecars' labels."""
    given, labels = _apart(mapping(values, field))
    _check_keys(given, (), field)
    return given, labels


def _apart(values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The administrator's keys, and those of the sidecars (`.../pvc/name`, also `...-secret-name` in GetCapacity)."""
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
            raise InvalidRequest(f"{field}[{key}]", "lacks a name after the prefix")
        if key not in names and not key.startswith(prefixes):
            raise InvalidRequest(field, unknown("parameter", key, {*names, *(f"{prefix}..." for prefix in prefixes)}))


def _below(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _file_systems(capabilities: Sequence[Capability], fs_type: str) -> frozenset[str]:
    """Those that mkfs may have to make; none when nothing is said about it."""
    kinds = [item.access_type for item in capabilities]
    asked = {kind.fs_type or fs_type or DEFAULT_FILE_SYSTEM for kind in kinds if isinstance(kind, Mount)}
    return frozenset(asked or {fs_type} - {""})


def _mkfs_options(value: str, field: str, file_systems: frozenset[str]) -> tuple[str, ...]:
    if not value:
        return ()
    if "\0" in value:
        raise InvalidRequest(field, "holds a NUL character")
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise InvalidRequest(field, f"cannot be split into words: {str(error).lower()}") from None
    if forcing := sorted(FORCING.intersection(words)):
        raise InvalidRequest(field, f"{', '.join(forcing)}: this driver never formats a device that may hold data")
    if device := next((word for word in words if word.startswith("/dev/")), None):
        raise InvalidRequest(field, f"{device!r}: the device is for the driver to say")
    problems = {name: problem for name in FILE_SYSTEMS if (problem := _mkfs_problem(name, words))}
    refused = file_systems.intersection(problems)
    if refused or len(problems) == len(FILE_SYSTEMS):  # where no file system is named, one must take them
        raise InvalidRequest(field, problems[min(refused or problems)])
    return words


def _mkfs_problem(fs_type: str, words: Sequence[str]) -> str:
    try:
        mkfsoptions.check(fs_type, words)
    except InvalidRequest as error:
        return error.problem
    return ""
