"""Finds the available pools and chooses a place for a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from csi_cinderlib.backend import secret_values
from csi_cinderlib.backend.stats import BackendStats, Candidate, RatedStats, Rating, usable_free
from csi_cinderlib.errors import BackendUnavailable, DriverError, InvalidRequest, NotReady, ResourceExhausted
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.answers import CapacityAnswer
from csi_cinderlib.model.records import EMPTY, NOTHING, Volume, VolumeType
from csi_cinderlib.model.requests import EXTRA_SPECS, QOS, ClassParameters, CreateVolume, GetCapacity, Topology
from csi_cinderlib.model.size import BYTES_PER_GIB, MAX_SIZE, Bytes, GiB, to_bytes
from csi_cinderlib.observe import redact
from csi_cinderlib.provisioning import access, extra_specs, ranking
from csi_cinderlib.provisioning.ranking import Place, Wanted
from csi_cinderlib.provisioning.volume_types import is_multiattach, resolve_type

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
            raise _renamed(error, request.mutable_parameters) from None

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
                backend.intake.check()
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


def _renamed(error: DriverError, mutable: Mapping[str, str]) -> DriverError:
    """The error, with the field of a parameter that overrides the StorageClass."""
    if isinstance(error, InvalidRequest):
        key = error.field.removeprefix("parameters[").removesuffix("]")
        if key in mutable:
            return InvalidRequest(f"mutable_parameters[{key}]", error.problem)
    return error


def _only(wanted: Wanted) -> str:
    """The required back end, or ""."""
    return wanted.source[0] if wanted.source else wanted.backend


@contextmanager
def _noted(backend: Backend, silent: dict[str, str]) -> Iterator[None]:
    """Record why the back end does not respond."""
    try:
        yield
    except DriverError as error:
        silent[backend.name] = redact.of_backend(error, secret_values.of_options(backend.settings))


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
            drained=backend.settings.drained,
            goodness=rating.goodness,
        )
        for pool in stats.pools
        for rating in (ratings.get(pool.name, Rating()),)
    ]


def check_modified(backend: Backend, volume: Volume, wanted: VolumeType | None) -> None:
    """Check that the pool of the volume offers the properties that change. As in Cinder, its free space does not matter.

    Raises:
        InvalidRequest: it does not, or its driver does not know the property.
        BackendUnavailable: the driver has never reported, and does not do so now.
    """
    have, new = volume.type or VolumeType(), wanted or VolumeType()
    specs = _changed(have.extra_specs, new.extra_specs)
    qos = _changed(have.qos_specs, new.qos_specs)
    stats = backend.known_stats or backend.stats(within=PROMPT_SECONDS)  # what a pool offers does not depend on its age
    pool = next((pool for pool in stats.pools if pool.name == volume.pool), None)
    where = f"{volume.backend}/{volume.pool}"
    if qos and not (pool.qos if pool else backend.capabilities.qos):
        raise InvalidRequest(f"mutable_parameters[{QOS}{min(qos)}]", f"QoS is not supported by: {where}")
    reported = {**stats.raw, **(pool.raw if pool else NOTHING)}
    if key := extra_specs.unmet(specs, reported):
        raise InvalidRequest(
            f"mutable_parameters[{EXTRA_SPECS}{key}]", f"{specs[key]!r} is not offered by the volume's pool {where}"
        )
    if key := extra_specs.unknown(specs, reported):
        raise InvalidRequest(
            f"mutable_parameters[{EXTRA_SPECS}{key}]", extra_specs.why_unknown(key, specs[key], reported)
        )


def _changed(have: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The values that are new or differ."""
    return {key: value for key, value in wanted.items() if have.get(key) != value}


def to_capacity(free: float) -> CapacityAnswer:
    """Convert GiB to the result of GetCapacity. Pure."""
    if free * BYTES_PER_GIB >= MAX_SIZE:
        return CapacityAnswer(available=MAX_SIZE, minimum=to_bytes(SMALLEST))
    whole = to_bytes(GiB(int(free)))
    return CapacityAnswer(available=Bytes(int(free * BYTES_PER_GIB)), maximum=whole, minimum=to_bytes(SMALLEST))
