"""The cached report of a back end, and the capacity allocated since."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from csi_cinderlib.backend import stats as capacities
from csi_cinderlib.backend.stats import FILTER, GOODNESS, BackendStats, Candidate, RatedStats, has_functions
from csi_cinderlib.backend.verbs import Driver, Report
from csi_cinderlib.errors import BackendUnavailable, DriverError
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Status, Volume, VolumeType
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.iteration import walk

NO_REPORT = "the driver did not report in time"
FRESH_SECONDS = 2.0
"""A report requested this long ago is still accepted, even if reports expire sooner."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A requested report. It may not include capacity allocated after the request."""

    asked_at: float
    taken: Counter[str]


class Reports:
    """The last report of a driver. Only one thread at a time requests a new one, so the array is not loaded by many callers.

    Args:
        pools: names of the pools for new volumes; the others are left out. Empty is all.
    """

    def __init__(
        self,
        driver: Driver,
        store: Store,
        *,
        seconds: float,
        pools: Callable[[], Collection[str]] = tuple,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driver = driver
        self._store = store
        self._seconds = seconds
        self._pools = pools
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._guard = threading.Lock()
        self._last: BackendStats | None = None
        self._asked_at = -math.inf
        self._answers = 0
        self._unanswered: _Question | None = None
        self.failure: DriverError | None = None
        """Why the last request for a report failed."""
        self._taken: Counter[str] = Counter()
        self._allocated: Counter[str] | None = None

    def stats(self, *, refresh: bool = False, patience: float | None = None, insists: bool = False) -> BackendStats:
        """Raises BackendUnavailable, including if the driver fails to report.

        Args:
            patience: seconds to wait for a new report; then the last report is returned.
            insists: raise instead of returning an expired report.
        """
        if not self._driver.ready:
            raise BackendUnavailable(self._driver.name, self._driver.failure)
        before = self._answers
        must = refresh or self._last is None
        # One thread requests a new report; the others use the expired one in the meantime, because an array may hang.
        if (must or self._expired()) and self._asking.acquire(blocking=must):
            try:
                if self._answers == before:  # else another thread has received one
                    self._ask(patience, insists=insists)
            finally:
                self._asking.release()
        left = self.left
        assert left is not None
        return left

    @property
    def left(self) -> BackendStats | None:
        """The last report less the capacity allocated since; None before the first report."""
        with self._guard:
            last, taken = self._last, self._taken.copy()
        if last is not None and (wanted := self._pools()):
            last = replace(last, pools=tuple(pool for pool in last.pools if pool.name in wanted))
        if last is None or not taken:
            return last
        return replace(
            last, pools=tuple(pool.less(taken[pool.name]) if taken[pool.name] else pool for pool in last.pools)
        )

    @property
    def missing_pools(self) -> tuple[str, ...]:
        """Pools for new volumes that the last report does not contain."""
        last = self._last
        known = {pool.name for pool in last.pools} if last is not None else set(self._pools())
        return tuple(name for name in self._pools() if name not in known)

    def ask(self) -> None:
        """Request a report without waiting for it, if the last one has expired."""
        if not (self._expired() and self._asking.acquire(blocking=False)):
            return
        try:
            if self._unanswered is None:
                self._unanswered = self.question()
                self._driver.ask()
        finally:
            self._asking.release()

    def rated(self, candidate: Candidate, patience: float) -> RatedStats:
        """The report, and the results of the filter and goodness functions for the candidate.

        If the array hangs and no pool has a function, the last report is used.
        """
        stats = self.stats(patience=patience)
        if not has_functions(stats):
            return stats, {}
        try:
            return stats, self._driver.rate(stats, candidate, patience=patience)
        except TimeoutError:
            raise BackendUnavailable(self._driver.name, NO_REPORT) from None

    def _expired(self) -> bool:
        return self._last is None or self._monotonic() - self._asked_at >= self._seconds

    def _ask(self, patience: float | None, *, insists: bool = False) -> None:
        late = self._unanswered
        question = late or self.question()
        try:
            report = self._driver.report(patience=patience)
        except TimeoutError:
            self._unanswered = question
            if insists or self._last is None:
                raise BackendUnavailable(self._driver.name, NO_REPORT) from None
            return
        except DriverError as error:
            self.failure, self._unanswered = error, None
            self._asked_at = -math.inf  # the old report is no longer valid
            raise
        self.take(report, question)
        if late is not None and self._monotonic() - late.asked_at >= max(
            self._seconds, FRESH_SECONDS
        ):  # the late report is too old
            self._ask(patience, insists=insists)

    def question(self) -> _Question:
        """Create it before a report is requested, and pass it to `take`."""
        with self._guard:
            return _Question(self._monotonic(), self._taken.copy())

    def take(self, report: Report, question: _Question) -> None:
        """Store a new report."""
        if self._allocated is None and _needs_count(report.raw):
            self._allocated = self._count()
        parsed = capacities.parse(
            report.raw, backend=self._driver.name, ratio=report.ratio, allocated=self._allocated or {}
        )
        with self._guard:
            self._last = parsed
            self._answers += 1
            self._unanswered = None
            self._taken -= question.taken  # only positive counts stay
            self._asked_at = self._monotonic()
            self.failure = None

    def _count(self) -> Counter[str]:
        """Total volume size by pool; counted once, then updated by `taken`."""
        sizes: Counter[str] = Counter()
        for volume in walk(self._store, Volume, {"backend": self._driver.name}):
            if is_counted(volume):
                sizes[volume.pool] += volume.size
        return sizes

    def taken(self, pool: str, size: int) -> None:
        """Note a volume that was created (or deleted, if the size is negative) since the last report."""
        with self._guard:
            self._taken[pool] += size
            if self._allocated is not None:
                self._allocated[pool] += size
            if size < 0 and self._last is not None and any(math.isfinite(pool.largest) for pool in self._last.pools):
                self._asked_at = -math.inf  # our own driver reports the change at once, and cheaply

    @property
    def last(self) -> BackendStats:
        """The last report of any age; requests one if there is none."""
        return self._last or self.stats()


def _needs_count(raw: Mapping[str, Any]) -> bool:
    """Whether placement needs the allocated capacity: the driver does not report provisioned capacity, or a function may use it."""
    pools = raw.get("pools") or [raw]
    return any("provisioned_capacity_gb" not in pool for pool in pools) or any(
        report.get(name) for report in (raw, *pools) for name in (FILTER, GOODNESS)
    )


def is_counted(volume: Volume) -> bool:
    """Whether the volume is completely created and not deleted, so `taken` has counted it."""
    return not volume.unfinished and volume.status not in (Status.CREATING, Status.ERROR, Status.DELETED)


def wants_thin(kind: VolumeType | None) -> bool:
    """Whether Cinder's capacity rules for thin volumes apply; not if the type requires a thick volume."""
    return kind is None or kind.extra_specs.get("provisioning:type") != "thick"
