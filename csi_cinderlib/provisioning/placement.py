"""Finds the available pools and chooses a place for a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from csi_cinderlib.backend.stats import BackendStats, Candidate, RatedStats, Rating, usable_free
from csi_cinderlib.errors import BackendUnavailable, DriverError, InvalidRequest, NotReady, ResourceExhausted
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import CapacityAnswer
from csi_cinderlib.model.records import EMPTY, MULTIATTACH, YES, Volume, VolumeType
from csi_cinderlib.model.requests import QOS, ClassParameters, CreateVolume, GetCapacity, Topology
from csi_cinderlib.model.size import BYTES_PER_GIB, MAX_SIZE, Bytes, GiB, to_bytes
from csi_cinderlib.observe import redact
from csi_cinderlib.provisioning import access, ranking
from csi_cinderlib.provisioning.ranking import Place, Wanted

PROMPT_SECONDS = 1.0
"""Seconds that a call waits for the reports of all back ends together."""
SMALLEST = GiB(1)


@dataclass(frozen=True, slots=True)
class Choice:
    """Possible places of a volume, best first, and its type."""

    places: tuple[Place, ...]
    type: VolumeType | None
    multiattach: bool


class Placement:
    """Chooses places for volumes.

    Args:
        types: named volume types of the configuration.
    """

    def __init__(self, backends: Backends, *, types: Mapping[str, VolumeType]) -> None:
        self._backends = backends
        self._types = types

    def choose(self, request: CreateVolume, size: GiB, *, near: Volume | None) -> Choice:
        """The possible places; `near` is the source volume, or the volume of the source snapshot.

        Raises:
            InvalidRequest, ResourceExhausted: no back end can satisfy the request.
            BackendUnavailable: a back end that might fit is not ready.
        """
        type, multiattach = self._kind(
            request.parameters, request.mutable_parameters, access.many_nodes(request.capabilities)
        )
        wanted = Wanted(
            size=size,
            backend=request.parameters.backend,
            pool=request.parameters.pool,
            type=type,
            multiattach=multiattach,
            topology=request.topology,
            source=(near.backend, near.pool) if near else None,
        )
        found, silent = self._places(wanted)
        try:
            return Choice(tuple(ranking.rank(found, wanted)), type, multiattach)
        except DriverError as error:
            self._check_ready(wanted, silent, error)
            raise

    def capacity(self, request: GetCapacity) -> CapacityAnswer:
        """The largest possible volume. A volume is in one pool, so the free space of several pools is not added.

        Raises:
            InvalidRequest: the class refers to something that does not exist.
            BackendUnavailable: the required back end is not ready.
        """
        type, multiattach = self._kind(request.parameters, EMPTY, access.many_nodes(request.capabilities))
        wanted = Wanted(
            size=SMALLEST,
            backend=request.parameters.backend,
            pool=request.parameters.pool,
            type=type,
            multiattach=multiattach,
            topology=Topology(requisite=(request.segments,)) if request.segments else None,
        )
        found, silent = self._places(wanted)
        try:
            able = ranking.fitting(found, wanted)
        except ResourceExhausted:
            able = []
        if not able:
            self._check_ready(wanted, silent, None)
        return to_capacity(max((ranking.free(place, wanted) for place in able), default=0.0))

    def _kind(
        self, parameters: ClassParameters, mutable: Mapping[str, str], many: bool
    ) -> tuple[VolumeType | None, bool]:
        type = resolve_type(parameters, mutable, named=self._types, multiattach=many)
        return type, many or is_multiattach(type)

    def _places(self, wanted: Wanted) -> tuple[list[Place], dict[str, str]]:
        """All places, and the reasons of ready back ends that do not answer. A failing array does not affect the others.

        If the request names a back end, only that one is queried: a hanging back end must not delay unrelated calls.
        """
        ready = [backend for backend in self._backends.all() if backend.ready]
        named = {wanted.backend, wanted.source[0] if wanted.source else ""}
        concerned = [backend for backend in ready if backend.name in named] or ready
        candidate = Candidate(size=wanted.size, type=wanted.type, multiattach=wanted.multiattach)
        found: list[Place] = []
        silent: dict[str, str] = {}
        asked: list[tuple[Backend, Callable[[float], RatedStats]]] = []
        for backend in concerned:
            with _noted(backend, silent):
                asked.append((backend, backend.ask_rated_stats(candidate)))
        until = time.monotonic() + PROMPT_SECONDS
        for backend, answer in asked:
            with _noted(backend, silent):
                found += places(backend, *answer(max(0.0, until - time.monotonic())))
        return found, silent

    def _check_ready(self, wanted: Wanted, silent: dict[str, str], error: DriverError | None) -> None:
        """A back end that is not ready might fit, so the error is not final."""
        everything = self._backends.all()
        if not everything:
            raise NotReady("no back end is configured") from error
        away = {
            backend.name: backend.failure or "it is not ready yet" for backend in everything if not backend.ready
        } | silent
        for name, reason in away.items():
            if _only(wanted) in {"", name}:
                raise BackendUnavailable(name, reason) from error


def _only(wanted: Wanted) -> str:
    """The required back end, or ""."""
    return wanted.source[0] if wanted.source else wanted.backend


@contextmanager
def _noted(backend: Backend, silent: dict[str, str]) -> Iterator[None]:
    """Record why the back end does not respond."""
    try:
        yield
    except DriverError as error:
        silent[backend.name] = redact.of_backend(error, backend.settings.options)


def places(backend: Backend, stats: BackendStats, ratings: Mapping[str, Rating]) -> list[Place]:
    """The pools of a back end."""
    return [
        Place(
            backend=backend.name,
            pool=pool.name,
            free_thin=usable_free(pool, thin=True),
            free_thick=usable_free(pool, thin=False),
            thin=pool.thin,
            multiattach=pool.multiattach,
            qos=pool.qos,
            topology=backend.settings.topology,
            reported={**stats.raw, **pool.raw},
            obstacle=rating.obstacle,
            goodness=rating.goodness,
        )
        for pool in stats.pools
        for rating in (ratings.get(pool.name, Rating()),)
    ]


def to_capacity(free: float) -> CapacityAnswer:
    """Convert GiB to the result of GetCapacity. Pure."""
    if free * BYTES_PER_GIB >= MAX_SIZE:
        return CapacityAnswer(available=MAX_SIZE, minimum=to_bytes(SMALLEST))
    whole = to_bytes(GiB(int(free)))
    return CapacityAnswer(available=Bytes(int(free * BYTES_PER_GIB)), maximum=whole, minimum=to_bytes(SMALLEST))


def resolve_type(
    parameters: ClassParameters,
    mutable: Mapping[str, str],
    *,
    named: Mapping[str, VolumeType],
    multiattach: bool,
) -> VolumeType | None:
    """The type of the volume: the named type, overridden by extra specs and QoS of the class, then by mutable parameters.

    Raises:
        InvalidRequest: the type or a mutable parameter is unknown, or a setting would be silently ignored.
    """
    base = _find_type(parameters.type, named)
    extra_specs = {**base.extra_specs, **parameters.extra_specs}
    qos = {**base.qos_specs, **parameters.qos, **_mutable_qos(mutable)}
    if multiattach:
        extra_specs[MULTIATTACH] = YES
    _check_consumer(base, parameters.type)
    if not extra_specs and not qos and not base.name:
        return None
    return VolumeType(name=base.name, extra_specs=extra_specs, qos_specs=qos, qos_consumer="back-end")


def is_multiattach(type: VolumeType | None) -> bool:
    """Whether volumes of this type support several nodes."""
    return type is not None and type.extra_specs.get(MULTIATTACH) == YES


def _find_type(name: str, named: Mapping[str, VolumeType]) -> VolumeType:
    if not name:
        return VolumeType()
    if name not in named:
        known = ", ".join(sorted(named)) or "none"
        raise InvalidRequest("parameters[type]", f"unknown volume type {name!r}; configured: {known}")
    return named[name]


def _check_consumer(base: VolumeType, name: str) -> None:
    """Only a hypervisor can enforce front-end QoS. Refuse it rather than create a volume without its limits."""
    if base.qos_specs and base.qos_consumer != "back-end":
        raise InvalidRequest(
            "parameters[type]",
            f"volume type {name!r} has QoS for consumer {base.qos_consumer!r}, which only a hypervisor can enforce "
            f"({', '.join(sorted(base.qos_specs))}); use back-end QoS",
        )


def _mutable_qos(mutable: Mapping[str, str]) -> dict[str, str]:
    """The QoS keys of mutable parameters; no other parameter is mutable.

    Raises:
        InvalidRequest: a key is not a QoS key.
    """
    for key in sorted(mutable):
        if not key.startswith(QOS) or key == QOS:
            raise InvalidRequest(f"mutable_parameters[{key}]", f"unknown parameter; supported: {QOS}KEY")
    return {key.removeprefix(QOS): value for key, value in mutable.items()}
