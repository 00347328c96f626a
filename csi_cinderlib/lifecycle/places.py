"""The pool of a new or imported volume, if the caller has not chosen one."""

from __future__ import annotations

from collections.abc import Callable

from csi_cinderlib.backend.stats import BackendStats, Pool, usable_free
from csi_cinderlib.errors import BackendUnavailable, InvalidRequest, ResourceExhausted
from csi_cinderlib.lifecycle import reports
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Snapshot, SourceKind, Volume
from csi_cinderlib.persistence.api import Store


class Places:
    """Places volumes in the pools of a back end.

    Args:
        stats: the driver's report.
    """

    def __init__(self, backend: str, store: Store, stats: Callable[[], BackendStats]) -> None:
        self._backend = backend
        self._store = store
        self._stats = stats

    def of_new(self, record: Volume, host: str) -> Volume:
        """Place a copy in the pool of its source, other volumes in the pool of the record or the one with the most free space.

        Raises:
            ResourceExhausted: no pool has enough space.
        """
        if record.host:
            return record
        pool = record.pool or self._pool_of_source(record) or self._roomiest(record).name
        return replace(record, backend=self._backend, pool=pool, host=f"{host}#{pool}")

    def of_import(self, record: Volume, host: str) -> Volume:
        """The pool must be named unless there is only one, and must support the access modes. Raises InvalidRequest."""
        pools = {pool.name: pool for pool in self._stats().pools}
        pool = record.pool or (next(iter(pools)) if len(pools) == 1 else "")
        if pool not in pools:
            problem = f"unknown pool {pool!r}" if pool else "must name the pool of the volume"
            raise InvalidRequest("pool", f"{problem}; pools of back end {self._backend!r}: {', '.join(sorted(pools))}")
        if record.multiattach and not pools[pool].multiattach:
            problem = f"volumes for several nodes are not supported by: {self._backend}/{pool}"
            raise InvalidRequest("access_modes", problem)
        return replace(record, pool=pool, host=f"{host}#{pool}")

    def _pool_of_source(self, record: Volume) -> str:
        if record.source is None:
            return ""
        id = record.source.id
        if record.source.kind is SourceKind.SNAPSHOT:
            id = self._store.get(Snapshot, id).volume_id
        return self._store.get(Volume, id).pool

    def _roomiest(self, record: Volume) -> Pool:
        pools = self._stats().pools
        if len(pools) == 1:
            return pools[0]
        thin = reports.wants_thin(record.type)
        best = max(pools, key=lambda pool: usable_free(pool, thin=thin), default=None)
        if best is None:
            raise BackendUnavailable(self._backend, "the driver reports no pool")
        if usable_free(best, thin=thin) < record.size:
            raise ResourceExhausted(f"no pool of back end {self._backend!r} has {record.size} GiB free")
        return best
