"""Ranks the places that can hold a volume, best first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from csi_cinderlib.errors import DriverError, InvalidRequest, ResourceExhausted
from csi_cinderlib.model.records import EMPTY, NOTHING, VolumeType
from csi_cinderlib.model.requests import QOS, Topology
from csi_cinderlib.model.size import GiB
from csi_cinderlib.provisioning import extra_specs

_PROVISIONING = "provisioning:type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A pool of a back end.

    Attributes:
        topology: segments from which it can be reached; empty means everywhere.
        free_thin: maximum size of a thin volume in GiB; infinite if the back end does not report it.
        free_thick: maximum size of a thick volume in GiB.
        reported: report of the driver about the pool, with Cinder's names.
        obstacle: the filter function that excludes the volume, or "".
        goodness: result of the goodness function, from 0 to 100.
        drained: its back end accepts no new volumes.
    """

    backend: str
    pool: str
    free_thin: float
    free_thick: float
    thin: bool = False
    multiattach: bool = False
    qos: bool = False
    topology: Mapping[str, str] = EMPTY
    reported: Mapping[str, object] = NOTHING
    obstacle: str = ""
    goodness: float = 0.0
    drained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Requirements of a volume; `source` is the place of its source, which the volume must share."""

    size: GiB
    backend: str = ""
    pool: str = ""
    type: VolumeType | None = None
    multiattach: bool = False
    topology: Topology | None = None
    source: tuple[str, str] | None = None
    extra_specs: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra_specs", self.type.extra_specs if self.type else EMPTY)


def free(place: Place, wanted: Wanted) -> float:
    """Maximum size in GiB of such a volume in that place."""
    asked = wanted.extra_specs.get(_PROVISIONING, "")
    thin = asked == "thin" or (place.thin and asked != "thick")
    return place.free_thin if thin else place.free_thick


def fitting(places: Sequence[Place], wanted: Wanted) -> list[Place]:
    """The places that satisfy all requirements except the size.

    Raises:
        InvalidRequest, ResourceExhausted: no place fits.
    """
    for rule in _RULES:
        kept = [place for place in places if rule.keep(place, wanted)]
        if places and not kept:
            raise rule.refuse(places, wanted)
        places = kept
    return list(places)


def rank(places: Sequence[Place], wanted: Wanted) -> list[Place]:
    """The places that fit, sorted by preferred topology, then goodness, then free space.

    Raises:
        InvalidRequest, ResourceExhausted: no place fits.
    """
    able = fitting(places, wanted)
    roomy = [place for place in able if free(place, wanted) >= wanted.size]
    if not roomy:
        most = max((free(place, wanted) for place in able), default=0)
        raise ResourceExhausted(f"no pool has {wanted.size} GiB free; the most is {most:.6g} GiB")
    return sorted(
        roomy,
        key=lambda place: (
            _preference(place, wanted.topology),
            -place.goodness,
            -free(place, wanted),
            place.backend,
            place.pool,
        ),
    )


def reachable(topology: Mapping[str, str], requirement: Topology | None) -> bool:
    """Whether a back end with this topology meets the requirement, that is, matches one of the requisite sets of segments."""
    if requirement is None or not topology:
        return True
    wanted = requirement.requisite or requirement.preferred
    return not wanted or any(fits(topology, segments) for segments in wanted)


def fits(topology: Mapping[str, str], segments: Mapping[str, str]) -> bool:
    """Whether a node with these segments can reach a back end with this topology."""
    return all(segments.get(key) == value for key, value in topology.items())


def _preference(place: Place, topology: Topology | None) -> int:
    preferred = topology.preferred if topology else ()
    for index, segments in enumerate(preferred):
        if fits(place.topology, segments):
            return index
    return len(preferred)


@dataclass(frozen=True, slots=True)
class _Rule:
    keep: Callable[[Place, Wanted], bool]
    refuse: Callable[[Sequence[Place], Wanted], DriverError]


def _by_source(place: Place, wanted: Wanted) -> bool:
    if wanted.source is None:
        return True
    backend, pool = wanted.source
    return place.backend == backend and pool in {"", place.pool}


def _qos(wanted: Wanted) -> Mapping[str, str]:
    return wanted.type.qos_specs if wanted.type else EMPTY


def _names(places: Sequence[Place]) -> str:
    return ", ".join(sorted({f"{place.backend}/{place.pool}" if place.pool else place.backend for place in places}))


def _backends(places: Sequence[Place]) -> str:
    return ", ".join(sorted({place.backend for place in places}))


def _unmet(places: Sequence[Place], wanted: Wanted) -> DriverError:
    key = extra_specs.unmet(wanted.extra_specs, places[0].reported)
    return InvalidRequest(
        f"parameters[extraSpecs/{key}]",
        f"{wanted.extra_specs[key]!r} is not offered by any pool; pools: {_names(places)}",
    )


def _unknown(places: Sequence[Place], wanted: Wanted) -> DriverError:
    key, reported = extra_specs.unknown(wanted.extra_specs, places[0].reported), places[0].reported
    return InvalidRequest(
        f"parameters[extraSpecs/{key}]",
        f"{extra_specs.why_unknown(key, wanted.extra_specs[key], reported)}; pools: {_names(places)}",
    )


_RULES = (
    _Rule(
        lambda place, wanted: wanted.backend in {"", place.backend},
        lambda places, wanted: InvalidRequest(
            "parameters[backend]", f"unknown back end {wanted.backend!r}; configured: {_backends(places)}"
        ),
    ),
    _Rule(
        _by_source,
        lambda _places, wanted: InvalidRequest(
            "volume_content_source",
            f"is in {'/'.join(filter(None, wanted.source or ()))}; a volume must be created where its source is",
        ),
    ),
    _Rule(
        lambda place, wanted: wanted.pool in {"", place.pool},
        lambda places, wanted: InvalidRequest(
            "parameters[pool]", f"unknown pool {wanted.pool!r}; pools: {_names(places)}"
        ),
    ),
    _Rule(
        lambda place, _wanted: not place.drained,
        lambda places, _wanted: ResourceExhausted(
            f"no new volumes are accepted by: {_backends(places)}; set `drained: false` to accept them again"
        ),
    ),
    _Rule(
        lambda place, wanted: reachable(place.topology, wanted.topology),
        lambda places, _wanted: ResourceExhausted(
            f"no pool can be reached from the requested topology; pools: {_names(places)}"
        ),
    ),
    _Rule(
        lambda place, wanted: place.multiattach or not wanted.multiattach,
        lambda places, _wanted: InvalidRequest(
            "volume_capabilities", f"volumes for several nodes are not supported by: {_names(places)}"
        ),
    ),
    _Rule(
        lambda place, wanted: place.qos or not _qos(wanted),
        lambda places, wanted: InvalidRequest(
            f"parameters[{QOS}{min(_qos(wanted))}]", f"QoS is not supported by: {_names(places)}"
        ),
    ),
    _Rule(
        lambda place, wanted: not extra_specs.unmet(wanted.extra_specs, place.reported),
        _unmet,
    ),
    _Rule(
        lambda place, wanted: not extra_specs.unknown(wanted.extra_specs, place.reported),
        _unknown,
    ),
    _Rule(
        lambda place, _wanted: not place.obstacle,
        lambda places, _wanted: ResourceExhausted(
            f"the filter function of every pool excludes the volume: {_names(places)}; {places[0].obstacle}"
        ),
    ),
)
