"""Promise 26: an answered error is a failure, whatever its words; only a call without an answer may have had its effect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.backend.backend import Backend
from csi_cinderlib.errors import BackendError
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from tests.component.backend.conftest import MakeBackend
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
BY_WORDS = "promise 26: words about a size in an error are read as success when the same size was asked for before"


def sizes(backend: Backend) -> list[int]:
    driver: Any = backend.driver
    return [lun.size for lun in driver.array.luns()]


def failing(make: MakeBackend, error: str) -> Backend:
    return make(driver=ARRAY, nothing_faults=[f"extend_volume={error}"])


@pytest.mark.parametrize(
    "error",
    [
        pytest.param("already-mapped", marks=pytest.mark.xfail(strict=True, reason=BY_WORDS)),
        pytest.param("maximum-size", marks=pytest.mark.xfail(strict=True, reason=BY_WORDS)),
        "host-does-not-exist",
        "timed-out",
    ],
)
def test_the_retry_of_a_refused_growth_fails_as_the_first_call_did(
    make: MakeBackend, store: ObservedStore, error: str
) -> None:
    backend = failing(make, error)
    volume = backend.create_volume(makers.volume())
    for _ in range(2):
        with pytest.raises(BackendError):
            backend.extend_volume(store.get(Volume, volume.id), GiB(2))
    left = store.get(Volume, volume.id)
    assert (left.status, left.size, sizes(backend)) == (Status.AVAILABLE, 1, [1])


@pytest.mark.parametrize("error", ["already-mapped", "maximum-size"])
@pytest.mark.xfail(strict=True, reason=BY_WORDS)
def test_a_growth_that_was_interrupted_and_is_refused_has_failed(
    make: MakeBackend, store: ObservedStore, error: str
) -> None:
    """The process was killed before the array did anything."""
    backend = failing(make, error)
    volume = backend.create_volume(makers.volume())
    left = store.replace(replace(volume, status=Status.EXTENDING, target_size=GiB(2), owner="killed"))
    with pytest.raises(BackendError):
        backend.extend_volume(left, GiB(2))
    assert (store.get(Volume, volume.id).size, sizes(backend)) == (1, [1])


def test_a_growth_whose_answer_was_lost_is_finished_by_the_retry(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ARRAY, nothing_faults=["extend_volume:1@after=timed-out"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError, match="timed out"):
        backend.extend_volume(volume, GiB(2))
    grown = backend.extend_volume(store.get(Volume, volume.id), GiB(2))
    assert (grown.status, grown.size, sizes(backend)) == (Status.AVAILABLE, 2, [2])


@pytest.mark.xfail(
    strict=True,
    reason="promise 26: after an error that followed the effect, the array's size is not looked at and is repeated",
)
def test_a_growth_by_a_difference_is_not_done_twice(make: MakeBackend, store: ObservedStore) -> None:
    traits = ["extends-by-difference"]
    backend = make(driver=ARRAY, nothing_traits=traits, nothing_faults=["extend_volume:1@after=timed-out"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError, match="timed out"):
        backend.extend_volume(volume, GiB(2))
    grown = backend.extend_volume(store.get(Volume, volume.id), GiB(2))
    assert sizes(backend) == [grown.size]
