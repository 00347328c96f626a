"""All back ends of a process, and the choice among them."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Iterator, Mapping

from csi_cinderlib.backend.api import BackEnd
from csi_cinderlib.backend.stats import Pool, usable_free
from csi_cinderlib.errors import BackendUnavailable, DriverError, NotFound, ResourceExhausted, Unsupported
from csi_cinderlib.model.requests import Topology
from csi_cinderlib.model.size import GiB

_log = logging.getLogger(__name__)


class Backends:
    """Several back ends at once; they may come and go while the process runs."""

    def __init__(self, backends: Iterable[BackEnd] = ()) -> None:
        self._backends: dict[str, BackEnd] = {one.name: one for one in backends}
        self._guard = threading.Lock()

    def get(self, name: str) -> BackEnd:
        """A back end that is ready.

        Raises:
            NotFound: there is none of that name.
            BackendUnavailable: it is not ready; says why.
        """
        found = self._backends.get(name)
        if found is None:
            raise NotFound("back end", name)
        if not found.ready:
            raise BackendUnavailable(name, found.failure)
        return found

    def all(self) -> tuple[BackEnd, ...]:
        """In the order of the configuration, ready or not."""
        return tuple(self._backends.values())

    @property
    def topologies(self) -> Mapping[str, Mapping[str, str]]:
        """From where each can be reached, as it is now and later."""
        return _Topologies(self)

    def add(self, backend: BackEnd) -> None:
        """Take in a back end, or replace the one of the same name, which is stopped."""
        with self._guard:
            old = self._backends.get(backend.name)
            self._backends = {**self._backends, backend.name: backend}
        if old is not None and old is not backend:
            old.stop()

    def remove(self, name: str) -> None:
        """Stop a back end and forget it; its records stay. Not there is fine."""
        with self._guard:
            rest = dict(self._backends)
            old = rest.pop(name, None)
            self._backends = rest
        if old is not None:
            old.stop()

    def choose(
        self,
        size: GiB,
        *,
        backend: str = "",
        pool: str = "",
        multiattach: bool = False,
        topology: Topology | None = None,
        thin: bool = True,
    ) -> tuple[BackEnd, Pool]:
        """The pool with most free space into which the volume fits.

        Args:
            backend, pool: only this one, where given.
            multiattach: the volume is for several nodes at once.
            topology: where it must be reachable from; earlier preferred places go before more space.
            thin: False when the volume asks for thick provisioning.

        Raises:
            NotFound: no such back end or pool.
            BackendUnavailable: none is ready.
            Unsupported: none can be attached to several nodes.
            ResourceExhausted: it fits nowhere, or nothing is reachable from the places asked for.
        """
        candidates = self._candidates(backend, pool)
        if multiattach and not (candidates := [(one, room) for one, room in candidates if room.multiattach]):
            raise Unsupported(f"{_which(backend, pool)} cannot attach a volume to several nodes")
        candidates = [(one, room) for one, room in candidates if accessible(one.settings.topology, topology)]
        if not candidates:
            raise ResourceExhausted(f"{_which(backend, pool)} cannot be reached from where the volume is wanted")
        fitting = [one for one in candidates if usable_free(one[1], thin=thin) >= size]
        if not fitting:
            most = max(usable_free(room, thin=thin) for _, room in candidates)
            raise ResourceExhausted(
                f"{_which(backend, pool)} has no room for {size} GiB; the most that fits is {most:g} GiB"
            )
        return max(fitting, key=lambda one: _rank(one[0], one[1], topology=topology, thin=thin))

    def _candidates(self, backend: str, pool: str) -> list[tuple[BackEnd, Pool]]:
        ready = [self.get(backend)] if backend else [one for one in self._backends.values() if one.ready]
        if not ready:
            reasons = "; ".join(f"{one.name}: {one.failure}" for one in self._backends.values())
            raise BackendUnavailable("", f"no back end is ready ({reasons or 'none is configured'})")
        found: list[tuple[BackEnd, Pool]] = []
        failures: list[DriverError] = []
        for one in ready:
            try:
                found += [(one, room) for room in one.stats().pools if pool in ("", room.name)]
            except DriverError as error:
                _log.warning("back end %s says nothing about its capacity: %s", one.name, error)
                failures.append(error)
        if not found and failures:
            raise failures[0]
        if not found:
            raise NotFound("pool", f"{backend}#{pool}" if backend else pool)
        return found


def _rank(backend: BackEnd, pool: Pool, *, topology: Topology | None, thin: bool) -> tuple[int, float, float]:
    """Preferred places first, then most free space, and among pools without a limit the one with fewer volumes."""
    free = usable_free(pool, thin=thin)
    return -preference(backend.settings.topology, topology), free, -pool.provisioned if math.isinf(free) else 0


class _Topologies(Mapping[str, Mapping[str, str]]):
    """A view of the registry."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends

    def __getitem__(self, name: str) -> Mapping[str, str]:
        for backend in self._backends.all():
            if backend.name == name:
                return backend.settings.topology
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (backend.name for backend in self._backends.all())

    def __len__(self) -> int:
        return len(self._backends.all())


def accessible(segments: Mapping[str, str], topology: Topology | None) -> bool:
    """Whether a back end in these segments can be reached from one of the required places (CSI: TopologyRequirement)."""
    if topology is None or not segments:
        return True
    places = topology.requisite or topology.preferred
    return not places or any(_within(segments, place) for place in places)


def preference(segments: Mapping[str, str], topology: Topology | None) -> int:
    """The rank of the first preferred place that fits; lower is better."""
    preferred = topology.preferred if topology else ()
    return next((rank for rank, place in enumerate(preferred) if _within(segments, place)), len(preferred))


def _within(segments: Mapping[str, str], place: Mapping[str, str]) -> bool:
    return all(place.get(key, value) == value for key, value in segments.items())


def _which(backend: str, pool: str) -> str:
    if not backend:
        return f"no back end with pool {pool!r}" if pool else "no back end"
    return f"pool {pool!r} of back end {backend!r}" if pool else f"back end {backend!r}"
