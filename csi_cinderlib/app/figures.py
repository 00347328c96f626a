"""Sets the gauges from what the controller knows. Done now and then, and never for a scrape: an array that hangs must not hide
the figures of the others."""

from __future__ import annotations

import math
from collections import Counter

from csi_cinderlib.app.stores import walk
from csi_cinderlib.backend.backend import Backend
from csi_cinderlib.backend.registry import Backends
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model.records import Volume
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.observe.metrics import Metrics
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.provisioning.orphans import Orphans

SECONDS = 60.0
"""Between two updates."""
FIRST_SECONDS = 3.0
"""Before the first one, so that it does not hold up the start."""
WALK_EVERY = 5
"""Updates between two walks over all records, which take a second for each 50,000."""
UNREADABLE = "unreadable"
"""The status, and the back end, of volumes whose records cannot be read."""


class Figures:
    """Remembers which label values it has set, so that what is gone shows as 0 and not as it was."""

    def __init__(self, metrics: Metrics, store: Store, backends: Backends, orphans: Orphans) -> None:
        self._metrics = metrics
        self._store = store
        self._backends = backends
        self._orphans = orphans
        self._seen: set[tuple[str, str]] = set()
        self._updates = 0

    def update(self) -> None:
        """Raises StoreUnavailable."""
        for backend in self._backends.all():
            self._metrics.backend_ready(backend.name, backend.ready)
            if backend.ready:
                self._pools(backend)
        if self._updates % WALK_EVERY == 0:
            self._count_orphans()
            self._count_volumes()
        self._updates += 1

    def _pools(self, backend: Backend) -> None:
        try:
            pools = backend.stats().pools
        except DriverError:
            return  # the error is counted where the driver was called
        for pool in pools:
            figures = {
                "total": pool.total,
                "free": pool.free,
                "allocated": pool.allocated,
                "provisioned": pool.provisioned,
            }
            known = {
                kind: value * BYTES_PER_GIB
                for kind, value in figures.items()
                if value is not None and not math.isnan(value)
            }
            self._metrics.pool(backend.name, pool.name, **known)

    def _count_orphans(self) -> None:
        counts = Counter(orphan.backend for orphan in self._orphans.find() if orphan.due)
        for name in {backend.name for backend in self._backends.all()} | set(counts):
            self._metrics.orphans(name, counts[name])

    def _count_volumes(self) -> None:
        counts = Counter(
            (UNREADABLE, UNREADABLE) if isinstance(record, str) else (record.backend, record.status.value)
            for record in walk(self._store, Volume)
        )
        self._seen |= set(counts)
        for backend, status in self._seen:
            self._metrics.volumes(backend, status, counts[backend, status])
