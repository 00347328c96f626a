"""Back ends as rows: configuration, state in the running driver, and number of volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from csi_cinderlib.app import configured
from csi_cinderlib.commands import running
from csi_cinderlib.errors import DriverError
from csi_cinderlib.inspection.lists import volume_counts

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.persistence.api import Store

Seen = Mapping[str, Any]


def rows(settings: Settings, store: Store) -> Iterator[Mapping[str, Any]]:
    """Rows in the order of the configuration, then other back ends of the running driver, unreadable files, and unconfigured back ends with volumes."""
    counts, known = volume_counts(store), configured.backends(settings, store)
    found = known.found
    seen, otherwise = states(settings)
    for backend in found.backends:
        yield _row(backend.name, backend.driver, counts.pop(backend.name, 0), seen.get(backend.name, otherwise))
    # These are previous contents of a file or an object that the running driver still uses.
    for name in sorted(seen.keys() - {backend.name for backend in found.backends}):
        yield _row(name, seen[name].get("driver", ""), counts.pop(name, 0), seen[name])
    for path, error in found.unreadable.items():
        yield _row(path.name, "", counts.pop(path.name, 0), {"state": "unreadable", "reason": str(error)})
    for name in sorted(counts):
        yield _row(name, "", counts[name], _unconfigured(known))


def states(settings: Settings) -> tuple[Mapping[str, Seen], Seen]:
    """The state of each back end in the running driver, and the state to show for all others."""
    try:
        found = running.request(settings, "GET", "/status").get("backends", [])
    except DriverError as error:
        return {}, {"state": "unknown", "reason": str(error)}
    seen = {backend["name"]: {**backend, **_capacity(backend.get("pools", ()))} for backend in found}
    return seen, {"state": "unknown", "reason": "the running driver has no such back end"}


def _unconfigured(known: configured.Known) -> Seen:
    """The state of a back end that only records name. An object may configure it, if the objects could not be read."""
    if known.failure is not None:
        return {"state": "unknown", "reason": f"back ends of objects are not known: {known.failure}"}
    return {"state": "not configured", "reason": "it still has volumes"}


def _capacity(pools: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Total capacity of all pools. A figure is omitted if a pool does not limit or report it."""
    figures = {name: [pool[name] for pool in pools] for name in ("total_gib", "free_gib")}
    return {name: round(sum(values)) for name, values in figures.items() if values and None not in values}


def _row(name: str, driver: str, volumes: int, seen: Seen) -> Mapping[str, Any]:
    return {
        "name": name,
        "state": seen.get("state", ""),
        "protocol": seen.get("protocol", ""),
        "total_gib": seen.get("total_gib", ""),
        "free_gib": seen.get("free_gib", ""),
        "volumes": volumes,
        "reason": seen.get("reason", ""),
        "driver": driver,
        "restarts": seen.get("restarts", ""),
        "pools": [pool["name"] for pool in seen.get("pools", ())],
    }
