"""The back ends as rows: what is configured, what the running driver says of them, and how many volumes each has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from csi_cinderlib.config import live
from csi_cinderlib.inspection.lists import volume_counts

if TYPE_CHECKING:
    from csi_cinderlib.config.settings import Settings
    from csi_cinderlib.persistence.api import Store

UNKNOWN: Mapping[str, Any] = {"state": "unknown", "reason": "no running driver was found here"}


def rows(settings: Settings, store: Store) -> Iterator[Mapping[str, Any]]:
    """In the order of the configuration; then those that only records name."""
    counts, found = volume_counts(store), live.backends(settings)
    seen = states(settings)
    for backend in found.backends:
        yield _row(backend.name, backend.driver, counts.pop(backend.name, 0), seen.get(backend.name, UNKNOWN))
    for path, error in found.unreadable.items():
        yield _row(path.name, "", counts.pop(path.name, 0), {"state": "unreadable", "reason": str(error)})
    for name in sorted(counts):
        yield _row(name, "", counts[name], {"state": "not configured", "reason": "volumes name it"})


def states(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """What the running driver says of each back end."""
    return {}


def _row(name: str, driver: str, volumes: int, seen: Mapping[str, Any]) -> Mapping[str, Any]:
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
        "pools": seen.get("pools", []),
    }
