"""The back end and pool of each volume, from Cinder's `host@backend#pool` and the mapping of the command. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from csi_cinderlib.adoption.mapping import backend_of
from csi_cinderlib.errors import InvalidRequest

OPTION = "--backend"
SERVICE = "csi-cinderlib"
"""The first part of `host@backend#pool` of this program's volumes, by which drivers find their volumes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A back end of this program, and a pool of it; "" is unknown."""

    backend: str
    pool: str = ""

    @property
    def host(self) -> str:
        return f"{SERVICE}@{self.backend}" + (f"#{self.pool}" if self.pool else "")


@dataclass(frozen=True, slots=True)
class Places:
    """Finds places.

    Attributes:
        given: the mapping of the command, by Cinder's host with or without a pool.
        configured: the configured back ends, with why each accepts no new volumes, or ""; None if there is no configuration to
            compare with.
        hosts: every `host@backend` of the database.
        pools: those that the running drivers report, by back end. A missing one is unknown.
    """

    given: Mapping[str, Place]
    configured: Mapping[str, str] | None
    hosts: frozenset[str] = frozenset()
    pools: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def find(self, host: str) -> Place:
        """The place of a volume. Raises InvalidRequest, naming the option or the setting that is missing."""
        at, _, pool = host.partition("#")
        found = self.given.get(host) or self.given.get(at) or self._same_name(at)
        place = Place(found.backend, found.pool or self._pool(found.backend, pool))
        if self.configured is not None and place.backend not in self.configured:
            raise InvalidRequest(
                "host",
                f"no back end {place.backend!r} is configured for {host}; configure it, or name another one with "
                f"{OPTION} {at}=NAME (configured: {', '.join(sorted(self.configured)) or 'none'})",
            )
        if self.configured and (reason := self.configured[place.backend]):
            raise InvalidRequest(
                "host",
                f"back end {place.backend!r} accepts no new volumes: {reason}; change that, or name another one with {OPTION}",
            )
        pools = self.pools.get(place.backend)
        if pools and place.pool and place.pool not in pools:
            raise InvalidRequest(
                "host",
                f"back end {place.backend!r} has no pool {place.pool!r}; name the pool with {OPTION} {host}={place.backend}#POOL "
                f"(pools: {', '.join(sorted(pools))})",
            )
        return place

    def _pool(self, backend: str, pool: str) -> str:
        """The pool of the same name. A driver without pools reports one with the name of the back end, which differs in Cinder."""
        return backend if self.pools.get(backend, frozenset()) == {backend} else pool

    def is_checked(self, place: Place) -> bool:
        """Whether the pool was compared with those of the driver."""
        return not place.pool or bool(self.pools.get(place.backend))

    def _same_name(self, at: str) -> Place:
        """The back end with the name that it has in Cinder. Raises InvalidRequest if it may be that of another host as well."""
        name = backend_of(at)
        same = {host for host in self.hosts if host.partition("@")[2] == name}
        same |= {given.partition("#")[0] for given, place in self.given.items() if place.backend == name}
        if others := sorted(same - {at}):
            raise InvalidRequest(
                "host",
                f"{at} and {', '.join(others)} would both be the back end {name!r}, and may be different storage; name the back end "
                f"of each with {OPTION} {at}=NAME",
            )
        return Place(name)


def parse(values: Iterable[str], configured: Mapping[str, str] | None) -> Places:
    """The mapping from values such as `node1@lvm#pool1=fast#pool2`. Raises InvalidRequest."""
    given: dict[str, Place] = {}
    for value in values:
        source, is_there, target = value.rpartition("=")
        backend, _, pool = target.partition("#")
        host, at, name = source.partition("@")
        if not (is_there and host and at and name and backend):
            raise InvalidRequest(OPTION, f"must be HOST@BACKEND[#POOL]=NAME[#POOL] (got {value!r})")
        if given.setdefault(source, Place(backend, pool)) != Place(backend, pool):
            raise InvalidRequest(OPTION, f"names different back ends for {source}")
    return Places(given, configured)


def planned(backends: Mapping[str, str], configured: Mapping[str, str] | None) -> Places:
    """The mapping of a plan, which names the place of each host with its pool."""
    places = {
        host: Place(backend, pool) for host, text in backends.items() for backend, _, pool in [text.partition("#")]
    }
    return Places(places, configured)


def unused(places: Places, hosts: Collection[str]) -> tuple[str, ...]:
    """Hosts of the mapping that no volume has, probably misspelt."""
    known = {*hosts, *(host.partition("#")[0] for host in hosts)}
    return tuple(sorted(set(places.given) - known))
