"""A back end's report, kept for a while, and what was taken from it since."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from csi_cinderlib.backend import loading, ratings, rows
from csi_cinderlib.backend import stats as capacities
from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.backend.stats import BackendCapabilities, BackendStats, usable_free
from csi_cinderlib.errors import BackendUnavailable, DriverError
from csi_cinderlib.model.records import Snapshot, Status, Volume, VolumeType
from csi_cinderlib.persistence.iteration import walk

__all__ = ["Reports", "update_provider_info", "usable_free", "wants_thin"]


class Reports:
    """The last report of a driver. One thread at a time asks for a new one; that is all an array sees of many callers."""

    def __init__(self, engine: Engine, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._guard = threading.Lock()
        self._last: BackendStats | None = None
        self._asked_at = 0.0
        self._answers = 0
        self.failure: DriverError | None = None
        """Why there was no new report when one was asked for last."""
        self._taken: Counter[str] = Counter()
        self._allocated: Counter[str] | None = None

    def stats(self, *, refresh: bool = False) -> BackendStats:
        """Raises BackendUnavailable, also when the driver cannot say."""
        self._engine.ready_driver()
        before = self._answers
        must = refresh or self._last is None
        # Who finds the report expired asks for a new one; the others meanwhile do with the old one, as an array may hang.
        if (must or self._expired()) and self._asking.acquire(blocking=must):
            try:
                if self._answers == before:  # else another thread got one meanwhile
                    self._ask()
                    self.failure = None
            except DriverError as error:
                self.failure = error
                self._asked_at = -math.inf  # the old report says nothing any more of what there is
                raise
            finally:
                self._asking.release()
        with self._guard:
            last, taken = self._last, self._taken.copy()
        assert last is not None
        if not taken:
            return last
        return replace(
            last, pools=tuple(pool.less(taken[pool.name]) if taken[pool.name] else pool for pool in last.pools)
        )

    def _expired(self) -> bool:
        return self._last is None or self._monotonic() - self._asked_at >= self._engine.settings.stats_seconds

    def _ask(self) -> None:
        engine = self._engine
        driver = engine.ready_driver()
        with self._guard:
            before = self._taken.copy()
        # Set-up has just made the driver ask its array for the report; the first time, that one will do.
        raw = engine.call(engine.work(), driver.get_volume_stats, refresh=self._last is not None)
        if not raw:
            raise BackendUnavailable(engine.name, "its driver reports nothing about itself")
        raw = {**raw, **engine.call_quietly(engine.work(), ratings.functions, driver, raw)}
        pools = raw.get("pools") or [raw]
        if self._allocated is None and any("provisioned_capacity_gb" not in pool for pool in pools):
            self._allocated = self._count()
        parsed = capacities.parse(
            raw,
            backend=engine.name,
            ratio=driver.configuration.safe_get("max_over_subscription_ratio"),
            allocated=self._allocated or {},
        )
        if not all(pool.name for pool in parsed.pools):
            raise BackendUnavailable(engine.name, "its driver reports a pool without a name")
        with self._guard:
            self._last = parsed
            self._answers += 1
            self._taken -= before  # what came meanwhile may not be in the report; only positive counts stay
            self._asked_at = self._monotonic()

    def _count(self) -> Counter[str]:
        """The sizes of our volumes by pool, for drivers that do not report them; counted once, then kept up."""
        sizes: Counter[str] = Counter()
        for volume in walk(self._engine.store, Volume, {"backend": self._engine.name}):
            if is_counted(volume):
                sizes[volume.pool] += volume.size
        return sizes

    def taken(self, pool: str, size: int) -> None:
        """A volume of that size came (or went, if negative) since the last report."""
        with self._guard:
            self._taken[pool] += size
            if self._allocated is not None:
                self._allocated[pool] += size
            if size < 0 and self._last is not None and any(math.isfinite(one.largest) for one in self._last.pools):
                self._asked_at = -math.inf  # our own driver knows better at once, and is cheap to ask

    def capabilities(self) -> BackendCapabilities:
        """From the last report, however old: what a back end can do does not change while it runs."""
        driver = self._engine.ready_driver()
        return loading.capabilities(driver, self._last or self.stats())


def is_counted(volume: Volume) -> bool:
    """Whether `taken` was told of it, which is done when a creation has ended, and its storage is there still."""
    return not volume.unfinished and volume.status not in (Status.CREATING, Status.ERROR, Status.DELETED)


def wants_thin(kind: VolumeType | None) -> bool:
    """Whether Cinder's capacity rules for thin volumes apply: unless the type asks for a thick one."""
    return kind is None or kind.extra_specs.get("provisioning:type") != "thick"


def update_provider_info(engine: Engine) -> None:
    """Let the driver correct the ids that it gave out earlier, as Cinder's volume manager does at each start."""
    work = engine.work().learn_all_attachments()
    volumes = [one for one in walk(engine.store, Volume, {"backend": engine.name}) if one.status is not Status.DELETED]
    work.volumes.update({one.id: one for one in volumes})
    taken = list(walk(engine.store, Snapshot, {"backend": engine.name}))
    volume_objects = [engine.volume_object(work, one) for one in volumes]
    snapshot_objects = [engine.snapshot_object(work, one) for one in taken]
    updates, snapshot_updates = engine.call(
        work, engine.ready_driver().update_provider_info, volume_objects, snapshot_objects
    )
    for update in updates or ():
        if update["id"] in work.volumes:
            columns = {"provider_id": update["provider_id"]}
            work.change_volume(update["id"], lambda one, columns=columns: rows.update_volume(one, columns))  # type: ignore[misc]
    for update in snapshot_updates or ():
        known = work.snapshots.get(update["id"])
        if known is not None and not known.provider.id:  # Cinder updates only those that have none
            columns = {"provider_id": update["provider_id"]}
            work.change_snapshot(known.id, lambda one, columns=columns: rows.update_snapshot(one, columns))  # type: ignore[misc]
