"""What a StorageClass says about the kind of volume, as the volume type that Cinder's drivers look up. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model.records import MULTIATTACH, YES, VolumeType
from csi_cinderlib.model.requests import QOS, ClassParameters


def resolve(
    parameters: ClassParameters,
    mutable: Mapping[str, str],
    *,
    named: Mapping[str, VolumeType],
    multiattach: bool,
) -> VolumeType | None:
    """The volume's own type: the named one, then extra specs and QoS of the class, then the mutable parameters on top.

    Raises:
        InvalidRequest: an unknown type or mutable parameter, or something that would be silently ignored.
    """
    base = _named(parameters.type, named)
    extra_specs = {**base.extra_specs, **parameters.extra_specs}
    qos = {**base.qos_specs, **parameters.qos, **_mutable_qos(mutable)}
    if multiattach:
        extra_specs[MULTIATTACH] = YES
    _check_consumer(base, parameters.type)
    if not extra_specs and not qos and not base.name:
        return None
    return VolumeType(name=base.name, extra_specs=extra_specs, qos_specs=qos, qos_consumer="back-end")


def is_multiattach(type: VolumeType | None) -> bool:
    """Whether volumes of this type are made for several nodes."""
    return type is not None and type.extra_specs.get(MULTIATTACH) == YES


def _named(name: str, named: Mapping[str, VolumeType]) -> VolumeType:
    if not name:
        return VolumeType()
    if name not in named:
        known = ", ".join(sorted(named)) or "none is configured"
        raise InvalidRequest("parameters[type]", f"volume type {name!r} is unknown; known: {known}")
    return named[name]


def _check_consumer(base: VolumeType, name: str) -> None:
    """Front-end QoS is for a hypervisor to enforce, and none is here: better no volume than one without its limits."""
    if base.qos_specs and base.qos_consumer != "back-end":
        raise InvalidRequest(
            "parameters[type]",
            f"volume type {name!r} has QoS for consumer {base.qos_consumer!r}, which only a hypervisor can enforce "
            f"({', '.join(sorted(base.qos_specs))}); use back-end QoS",
        )


def _mutable_qos(mutable: Mapping[str, str]) -> dict[str, str]:
    """The QoS keys of mutable parameters; nothing else is mutable.

    Raises:
        InvalidRequest: names the first key that is not one.
    """
    for key in sorted(mutable):
        if not key.startswith(QOS) or key == QOS:
            raise InvalidRequest(f"mutable_parameters[{key}]", f"is unknown; known: {QOS}KEY")
    return {key.removeprefix(QOS): value for key, value in mutable.items()}
