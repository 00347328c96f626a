"""The types of volumes: named types of the configuration, overridden by the parameters of classes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import MULTIATTACH, YES, Volume, VolumeType
from csi_cinderlib.model.requests import EXTRA_SPECS, QOS, TYPE, ClassParameters, below

_FRONT_END = "front-end"


def resolve_type(
    parameters: ClassParameters,
    mutable: Mapping[str, str],
    *,
    named: Mapping[str, VolumeType],
    multiattach: bool,
) -> VolumeType | None:
    """The type of the volume: the named type, overridden by extra specs and QoS of the class, then by mutable parameters.

    A named type in the mutable parameters replaces that of the class, and overrides the class. An empty value removes a property.

    Raises:
        InvalidRequest: the type or a mutable parameter is unknown, or a setting would be silently ignored.
    """
    _check_mutable(mutable)
    if TYPE in mutable:
        base = _find_type(mutable[TYPE], named, f"mutable_parameters[{TYPE}]")
        extra_specs = {**parameters.extra_specs, **base.extra_specs}
        qos = {**parameters.qos, **base.qos_specs}
    else:
        base = _find_type(parameters.type, named, f"parameters[{TYPE}]")
        extra_specs = {**base.extra_specs, **parameters.extra_specs}
        qos = {**base.qos_specs, **parameters.qos}
    extra_specs = _overridden(extra_specs, below(EXTRA_SPECS, mutable))
    if multiattach:
        extra_specs[MULTIATTACH] = YES
    consumer = base.qos_consumer if base.qos_specs else VolumeType().qos_consumer
    qos = _overridden(qos, below(QOS, mutable))
    return _non_empty(VolumeType(name=base.name, extra_specs=extra_specs, qos_specs=qos, qos_consumer=consumer))


def modify_type(volume: Volume, given: Mapping[str, str], *, named: Mapping[str, VolumeType]) -> VolumeType | None:
    """The type of an existing volume after a modification.

    With a named type, it is that of a new volume with the same classes. Otherwise the given properties change, and all others keep their
    values, also if the named type of the volume has changed since.

    Raises:
        InvalidRequest: as `resolve_type`, or the volume cannot get the property after its creation.
    """
    _check_mutable(given)
    if TYPE not in given:
        return _modify_given(volume.type or VolumeType(), given)
    parameters, mutable = _class_parameters(volume), modify_parameters(volume, given)
    wanted = resolve_type(parameters, mutable, named=named, multiattach=volume.multiattach)
    if is_multiattach(wanted) and not volume.multiattach:
        raise InvalidRequest(
            f"mutable_parameters[{TYPE}]",
            f"volume type {mutable[TYPE]!r} is for several nodes, and the volume was created for one node",
        )
    return wanted


def _modify_given(have: VolumeType, mutable: Mapping[str, str]) -> VolumeType | None:
    qos = below(QOS, mutable)
    if qos and have.qos_specs and have.qos_consumer == _FRONT_END:
        raise InvalidRequest(
            f"mutable_parameters[{QOS}{min(qos)}]",
            f"the volume has QoS for consumer {have.qos_consumer!r}, which only a hypervisor can enforce",
        )
    return _non_empty(
        replace(
            have,
            extra_specs=_overridden(have.extra_specs, below(EXTRA_SPECS, mutable)),
            qos_specs=_overridden(have.qos_specs, qos),
        )
    )


def modify_parameters(volume: Volume, given: Mapping[str, str]) -> dict[str, str]:
    """The mutable parameters of a volume after a modification."""
    return {**volume.mutable_parameters, **given}


def is_multiattach(type: VolumeType | None) -> bool:
    """Whether volumes of this type support several nodes."""
    return type is not None and type.extra_specs.get(MULTIATTACH) == YES


def _class_parameters(volume: Volume) -> ClassParameters:
    given = volume.parameters
    return ClassParameters(type=given.get(TYPE, ""), extra_specs=below(EXTRA_SPECS, given), qos=below(QOS, given))


def _non_empty(kind: VolumeType) -> VolumeType | None:
    return kind if kind.name or kind.extra_specs or kind.qos_specs else None


def _overridden(values: Mapping[str, str], mutable: Mapping[str, str]) -> dict[str, str]:
    """The values with mutable ones over them; an empty mutable value removes the key."""
    return {key: value for key, value in {**values, **mutable}.items() if value or key not in mutable}


def _find_type(name: str, named: Mapping[str, VolumeType], field: str) -> VolumeType:
    if not name:
        return VolumeType()
    if name not in named:
        known = ", ".join(sorted(named)) or "none"
        raise InvalidRequest(field, f"unknown volume type {name!r}; configured: {known}")
    _check_consumer(named[name], name, field)
    return named[name]


def _check_consumer(base: VolumeType, name: str, field: str) -> None:
    """Only a hypervisor can enforce front-end QoS. Refuse it rather than create a volume without its limits. Drivers apply `both`."""
    if base.qos_specs and base.qos_consumer == _FRONT_END:
        raise InvalidRequest(
            field,
            f"volume type {name!r} has QoS for consumer {base.qos_consumer!r}, which only a hypervisor can enforce "
            f"({', '.join(sorted(base.qos_specs))}); use back-end QoS",
        )


def _check_mutable(mutable: Mapping[str, str]) -> None:
    """Raises InvalidRequest: a key is unknown, or cannot be changed after the creation."""
    for key in sorted(mutable):
        if key != TYPE and not any(key.startswith(prefix) and key != prefix for prefix in (EXTRA_SPECS, QOS)):
            raise InvalidRequest(
                f"mutable_parameters[{key}]", f"unknown parameter; supported: {TYPE}, {EXTRA_SPECS}KEY, {QOS}KEY"
            )
        if key == f"{EXTRA_SPECS}{MULTIATTACH}":
            raise InvalidRequest(f"mutable_parameters[{key}]", "not mutable; set it in the StorageClass")
