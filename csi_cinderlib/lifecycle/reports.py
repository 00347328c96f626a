"""A back end's report, kept for a while, and what was taken from it since."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
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

FRESH_SECONDS = 2.0
"""A report is worth having that was asked for so long ago, however short the time that reports are kept."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A report that was asked for. What was taken since may not be in the answer."""

    asked_at: float
    taken: Counter[str]


class Reports:
    """The last report of a driver. One thread at a time asks for a new one; that is all an array sees of many callers."""

    def __init__(
        self, driver: Driver, store: Store, *, seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._driver = driver
        self._store = store
        self._seconds = seconds
        self._monotonic = monotonic
        self._asking = threading.Lock()
        self._guard = threading.Lock()
        self._last: BackendStats | None = None
        self._asked_at = -math.inf
        self._answers = 0
        self._unanswered: _Question | None = None
        self.failure: DriverError | None = None
        """Why there was no new report when one was asked for last."""
        self._taken: Counter[str] = Counter()
        self._allocated: Counter[str] | None = None

    def stats(self, *, refresh: bool = False, patience: float | None = None, insists: bool = False) -> BackendStats:
        """Raises BackendUnavailable, also when the driver cannot say.

        Args:
            patience: seconds; after that, the last report has to do.
            insists: it does not, when a new one is due.
        """
        if not self._driver.ready:
            raise BackendUnavailable(self._driver.name, self._driver.failure)
        before = self._answers
        must = refresh or self._last is None
        # Who finds the report expired asks for a new one; the others meanwhile do with the old one, as an array may hang.
        if (must or self._expired()) and self._asking.acquire(blocking=must):
            try:
                if self._answers == before:  # else another thread got one meanwhile
                    self._ask(patience, insists=insists)
            finally:
                self._asking.release()
        left = self.left
        assert left is not None
        return left

    @property
    def left(self) -> BackendStats | None:
        """The last report, less what was taken since; None before the first one."""
        with self._guard:
            last, taken = self._last, self._taken.copy()
        if last is None or not taken:
            return last
        return replace(
            last, pools=tuple(pool.less(taken[pool.name]) if taken[pool.name] else pool for pool in last.pools)
        )

    def ask(self) -> None:
        """Have the driver report while the caller does something else, if the last report has expired."""
        if not (self._expired() and self._asking.acquire(blocking=False)):
            return
        try:
            if self._unanswered is None:
                self._unanswered = self.question()
                self._driver.ask()
        finally:
            self._asking.release()

    def rated(self, candidate: Candidate, patience: float) -> RatedStats:
        """The report, and what the filter and goodness functions of its pools say of such a volume.

        Of an array that hangs the last report has to do, if no function has a say.
        """
        stats = self.stats(patience=patience)
        if not has_functions(stats):
            return stats, {}
        try:
            return stats, self._driver.rate(stats, candidate, patience=patience)
        except TimeoutError:
            raise BackendUnavailable(self._driver.name, "it does not answer") from None

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
                raise BackendUnavailable(self._driver.name, "it does not answer") from None
            return
        except DriverError as error:
            self.failure, self._unanswered = error, None
            self._asked_at = -math.inf  # the old report says nothing any more of what there is
            raise
        self.take(report, question)
        if late is not None and self._monotonic() - late.asked_at >= max(
            self._seconds, FRESH_SECONDS
        ):  # nobody has asked for long
            self._ask(patience, insists=insists)

    def question(self) -> _Question:
        """To be kept from before a report is asked for until it is taken."""
        with self._guard:
            return _Question(self._monotonic(), self._taken.copy())

    def take(self, report: Report, question: _Question) -> None:
        """The driver's newest report."""
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
        """The sizes of our volumes by pool; counted once, then kept up."""
        sizes: Counter[str] = Counter()
        for volume in walk(self._store, Volume, {"backend": self._driver.name}):
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

    @property
    def last(self) -> BackendStats:
        """However old; asks where there is none."""
        return self._last or self.stats()


def _needs_count(raw: Mapping[str, Any]) -> bool:
    """Whether what is allocated decides where volumes go: the driver does not report what is provisioned, or a function may ask for it."""
    pools = raw.get("pools") or [raw]
    return any("provisioned_capacity_gb" not in pool for pool in pools) or any(
        report.get(name) for report in (raw, *pools) for name in (FILTER, GOODNESS)
    )


def is_counted(volume: Volume) -> bool:
    """Whether `taken` was told of it, which is done when a creation has ended, and its storage is there still."""
    return not volume.unfinished and volume.status not in (Status.CREATING, Status.ERROR, Status.DELETED)


def wants_thin(kind: VolumeType | None) -> bool:
    """Whether Cinder's capacity rules for thin volumes apply: unless the type asks for a thick one."""
    return kind is None or kind.extra_specs.get("provisioning:type") != "thick"
