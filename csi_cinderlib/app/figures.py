"""Sets the gauges from what the controller knows. Done now and then, and never for a scrape: an array that hangs must not hide
the figures of the others."""

from __future__ import annotations

import math
from collections import Counter

from csi_cinderlib.app.observations import Observations, Seen
from csi_cinderlib.backend.stats import Pool
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.observe.metrics import Metrics
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.provisioning.orphans import Orphans

FIRST_SECONDS = 3.0
"""Before the first one, so that it does not hold up the start."""
WALK_EVERY = 60
"""Updates between two walks over all records, which take a second for each 50,000."""
UNREADABLE = "unreadable"
"""The status, and the back end, of volumes whose records cannot be read."""


class Figures:
    """Remembers which label values it has set, so that what is gone shows as 0 and not as it was."""

    def __init__(self, metrics: Metrics, store: Store, observations: Observations, orphans: Orphans) -> None:
        self._metrics = metrics
        self._store = store
        self._observations = observations
        self._orphans = orphans
        self._seen: set[tuple[str, str]] = set()
        self._shown: set[str] = set()
        self._updates = 0

    def update(self) -> None:
        """Raises StoreUnavailable."""
        views = self._observations.look()
        for view in views:
            self._metrics.backend_ready(view.name, view.ready)
            self._metrics.pools(view.name, _pools(view))
        names = {view.name for view in views}
        for gone in self._shown - names:
            self._metrics.forget_backend(gone)
        self._shown = names
        if self._updates % WALK_EVERY == 0:
            self._count_orphans(names)
            self._count_volumes()
        self._updates += 1

    def _count_orphans(self, backends: set[str]) -> None:
        counts = Counter(orphan.backend for orphan in self._orphans.find() if orphan.due)
        for name in backends | set(counts):
            self._metrics.orphans(name, counts[name])

    def _count_volumes(self) -> None:
        counts = Counter(
            (UNREADABLE, UNREADABLE) if isinstance(record, str) else (record.backend, record.status.value)
            for record in walk_with_unreadable(self._store, Volume)
            if isinstance(record, str) or record.status is not Status.DELETED
        )
        self._seen |= set(counts)
        for backend, status in self._seen:
            self._metrics.volumes(backend, status, counts[backend, status])


def _pools(seen: Seen) -> dict[str, dict[str, float]]:
    """What is known of each pool in its last report; nothing while there is none, for an old figure is a wrong one."""
    return {pool.name: _bytes(pool) for pool in (seen.stats.pools if seen.stats else ())}


def _bytes(pool: Pool) -> dict[str, float]:
    figures = {"total": pool.total, "free": pool.free, "allocated": pool.allocated, "provisioned": pool.provisioned}
    return {
        kind: value * BYTES_PER_GIB for kind, value in figures.items() if value is not None and not math.isnan(value)
    }
