"""Sets the gauges of the controller. Runs periodically and not during a scrape: a hanging array must not hide the metrics of the others."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

from csi_cinderlib.app.observations import Observations, Seen
from csi_cinderlib.backend.stats import Pool
from csi_cinderlib.lifecycle.reports import is_counted
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.observe.metrics import Metrics
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk_with_unreadable
from csi_cinderlib.provisioning.orphans import Orphans

FIRST_SECONDS = 3.0
"""Delay of the first update, so that it does not slow down the start."""
WALK_SECONDS = (30.0, 300.0)
"""Minimum and maximum interval between two scans of all records. The interval is a hundred times the duration of the last scan; in a
database, a scan takes a second for each 50,000 records."""
UNREADABLE = "unreadable"
"""Status and back end of volumes with unreadable records."""


class Figures:
    """Updates the gauges. It remembers the label values, so that removed ones become 0."""

    def __init__(
        self,
        metrics: Metrics,
        store: Store,
        observations: Observations,
        orphans: Orphans,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = monotonic
        self._metrics = metrics
        self._store = store
        self._observations = observations
        self._orphans = orphans
        self._seen: set[tuple[str, str]] = set()
        self._shown: set[str] = set()
        self._allocated: Counter[tuple[str, str]] | None = None
        self._walk_at = -math.inf

    def update(self) -> None:
        """Raises StoreUnavailable."""
        views = self._observations.look()
        for view in views:
            self._metrics.backend_ready(view.name, view.ready)
            self._metrics.pools(view.name, self._pools(view))
        names = {view.name for view in views}
        for gone in self._shown - names:
            self._metrics.forget_backend(gone)
        self._shown = names
        if (began := self._now()) >= self._walk_at:
            try:
                self._count_orphans(names)
                self._count_volumes()
            finally:  # a failed scan also delays the next one: the store has a problem
                shortest, longest = WALK_SECONDS
                ended = self._now()
                self._walk_at = ended + min(max(shortest, 100 * (ended - began)), longest)

    def _count_orphans(self, backends: set[str]) -> None:
        counts = Counter(orphan.backend for orphan in self._orphans.find() if orphan.due)
        for name in backends | set(counts):
            self._metrics.orphans(name, counts[name])

    def _count_volumes(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        allocated: Counter[tuple[str, str]] = Counter()
        for record in walk_with_unreadable(self._store, Volume):
            if isinstance(record, str):
                counts[UNREADABLE, UNREADABLE] += 1
            elif record.status is not Status.DELETED:
                counts[record.backend, record.status.value] += 1
            if isinstance(record, Volume) and is_counted(record):
                allocated[record.backend, record.pool] += record.size
        self._allocated = allocated
        self._seen |= set(counts)
        for backend, status in self._seen:
            self._metrics.volumes(backend, status, counts[backend, status])

    def _pools(self, seen: Seen) -> dict[str, dict[str, float]]:
        """The values of each pool from its last report; empty without a report, because old values would be wrong.

        The allocated size is counted here, because drivers that report the provisioned size are not told of it.
        """
        known = self._allocated
        return {
            pool.name: _bytes(pool, None if known is None else known[seen.name, pool.name])
            for pool in (seen.stats.pools if seen.stats else ())
        }


def _bytes(pool: Pool, allocated: float | None) -> dict[str, float]:
    figures = {"total": pool.total, "free": pool.free, "allocated": allocated, "provisioned": pool.provisioned}
    return {
        kind: value * BYTES_PER_GIB for kind, value in figures.items() if value is not None and not math.isnan(value)
    }
