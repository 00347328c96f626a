"""Whether a driver may be asked to change an existing volume from one type to another. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from csi_cinderlib.backend.retypes import Retypes
from csi_cinderlib.errors import InUse, Unsupported
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import MULTIATTACH, Modification, Volume, VolumeType

_EXTRA_SPECS, _QOS = "extraSpecs/", "qos/"
_CONSUMER, FRONT_END = "qos_consumer", "front-end"
Change = tuple[str | None, str | None]


def check(
    retypes: Retypes, volume: Volume, origin: VolumeType | None, wanted: VolumeType | None, *, attached: bool
) -> None:
    """Check that the driver changes everything that differs, in place.

    Raises:
        Unsupported: it does not, as its review shows, or it has none.
        InUse: it does so only while the volume is not attached.
    """
    changes = differences(origin, wanted)
    where = f"back end {volume.backend!r} cannot change volume {volume.id!r} in place"
    if not retypes.anything:
        why = (
            f"its driver is not used for that: {retypes.effect}"
            if retypes.effect
            else "its driver does not support it."
        )
        raise Unsupported(f"{where}: {why} Create a new volume with these parameters")
    if refused := [key for key in changes if not retypes.allows(key)]:
        raise Unsupported(
            f"{where}: not {', '.join(refused)}; its driver changes only {', '.join(retypes.keys)}. {retypes.effect}".strip()
        )
    if blocker := retypes.blocker(properties(origin)) or retypes.blocker(properties(wanted)):
        raise Unsupported(f"{where}: its driver changes nothing of a volume with {blocker}")
    if not retypes.removable and (added := [key for key, change in changes.items() if None in change]):
        raise Unsupported(f"{where}: its driver replaces values, and neither adds nor removes them: {', '.join(added)}")
    for key, (_, new) in changes.items():
        if new is not None and (allowed := retypes.bad_value(key, new)):
            raise Unsupported(f"{where}: {key} is {new!r}; it must be {allowed}")
    if wrong := retypes.misordered(properties(wanted)):
        raise Unsupported(f"{where}: {wrong}")
    if attached and retypes.needs_detached(changes):
        raise InUse(
            f"volume {volume.id!r} is attached, and back end {volume.backend!r} changes {', '.join(changes)} only of "
            "detached volumes"
        )


def has_begun(volume: Volume, wanted: VolumeType | None) -> bool:
    """Whether the type is one between which an unfinished modification has begun: it is not checked again."""
    unfinished = volume.modification
    return unfinished is not None and (is_same(unfinished.wanted, wanted) or is_same(volume.type, wanted))


def is_unproven(modification: Modification) -> bool:
    """Whether it changes nothing: the record is of a restored copy, and the back end may have got other properties since."""
    return is_same(modification.origin, modification.wanted)


def is_modifying(volume: Volume) -> bool:
    """Whether a modification has begun and not ended."""
    return volume.modification is not None and not is_unproven(volume.modification)


def unlike(retypes: Retypes, kind: VolumeType | None) -> VolumeType:
    """A type from which the driver would change each of its parameters to the given one, and nothing else. Never stored, and never set.

    Parameters that the type lacks are removed, except those that the driver only replaces.
    """
    have, exact = properties(kind), [key for key in retypes.keys if "*" not in key]
    extra = (
        {key: str(retypes.values.get(key, ("1",))[0]) for key in exact if key not in have} if retypes.removable else {}
    )
    kind = kind or VolumeType()

    def unlike_in(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in values.items() if not retypes.allows(f"{prefix}{key}")}
        return kept | {key.removeprefix(prefix): value for key, value in extra.items() if key.startswith(prefix)}

    return replace(
        kind, extra_specs=unlike_in(_EXTRA_SPECS, kind.extra_specs), qos_specs=unlike_in(_QOS, kind.qos_specs)
    )


def is_same(have: VolumeType | None, wanted: VolumeType | None) -> bool:
    """Whether both mean the same for a driver. The name does not matter: drivers evaluate extra specs and QoS."""
    return not differences(have, wanted)


def differences(have: VolumeType | None, wanted: VolumeType | None) -> dict[str, Change]:
    """The old and new values that differ, by parameter in the notation of classes, sorted."""
    old, new = properties(have), properties(wanted)
    return {
        key: (old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    }


def properties(kind: VolumeType | None) -> dict[str, str]:
    """The extra specs and QoS of a type in the notation of classes, and the consumer of QoS if that is no back end.

    Whether a volume is for several nodes is decided at its creation, and not always in its type.
    """
    if kind is None:
        return {}
    specs = {key: value for key, value in kind.extra_specs.items() if key != MULTIATTACH}
    found = {**_prefixed(_EXTRA_SPECS, specs), **_prefixed(_QOS, kind.qos_specs)}
    return {**found, _CONSUMER: FRONT_END} if kind.qos_specs and kind.qos_consumer == FRONT_END else found


def _prefixed(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{key}": value for key, value in values.items()}
