"""What a back end's report says while its driver is slow, hangs, or is started again."""

from __future__ import annotations

from typing import Any, cast

import pytest

from csi_cinderlib.backend.verbs import Driver, Report
from csi_cinderlib.lifecycle.reports import Reports
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore


class SlowDriver:
    """Answers at the second look: with what was there when it was asked."""

    name, failure, ready = "fake", "", True

    def __init__(self) -> None:
        self.free = 100
        self.is_slow = False
        self.asked = 0
        self._answer: Report | None = None

    def report(self, *, patience: float | None = None) -> Report:
        answer, self._answer = self._answer, None
        if answer is not None:
            return answer
        self.asked += 1
        answer = Report(raw={"total_capacity_gb": 100, "free_capacity_gb": self.free, "provisioned_capacity_gb": 0})
        if self.is_slow and patience is not None:
            self._answer = answer
            raise TimeoutError
        return answer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def started(driver: SlowDriver, clock: Clock) -> Reports:
    reports = Reports(cast("Driver", driver), MemoryStore(), seconds=60, monotonic=clock)
    reports.take(driver.report(), reports.question())
    return reports


def free(reports: Reports, **named: Any) -> float | None:
    return reports.stats(**named).pools[0].free


def test_what_was_created_after_the_question_is_not_in_a_late_answer() -> None:
    driver, clock = SlowDriver(), Clock()
    reports = started(driver, clock)
    clock.now, driver.is_slow = 60, True
    assert free(reports, patience=1) == 100
    reports.taken("fake", 7)
    clock.now = 61
    assert free(reports, patience=1) == 93
    assert driver.asked == 2


def test_an_answer_that_nobody_took_for_long_is_not_the_newest() -> None:
    driver, clock = SlowDriver(), Clock()
    reports = started(driver, clock)
    clock.now, driver.is_slow = 60, True
    free(reports, patience=1)
    clock.now, driver.is_slow, driver.free = 3600, False, 50
    assert free(reports, patience=1) == 50
    assert driver.asked == 3


@pytest.mark.parametrize(
    ("report", "allocated"),
    [
        ({"provisioned_capacity_gb": 9}, 0),
        ({"provisioned_capacity_gb": 9, "filter_function": "capabilities.allocated_capacity_gb < 8"}, 7),
        ({"pools": [{"pool_name": "a", "provisioned_capacity_gb": 9, "goodness_function": "100"}]}, 7),
        ({"pools": [{"pool_name": "a"}]}, 7),
    ],
)
def test_what_is_allocated_is_counted_where_it_decides(report: dict[str, Any], allocated: int) -> None:
    """With 100,000 volumes it takes more than a second, so not for every driver."""
    store, driver = MemoryStore(), SlowDriver()
    pool = "a" if "pools" in report else "fake"
    store.add(Volume(id="v", backend="fake", pool=pool, size=GiB(7), status=Status.AVAILABLE))
    reports = Reports(cast("Driver", driver), store, seconds=60)
    reports.take(Report(raw=report), reports.question())
    assert reports.stats().pools[0].allocated == allocated
