"""Promise 26: an answered error is a failure, whatever its words; only a call without an answer may have had its effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"


def sizes(backend: LocalBackend) -> list[int]:
    driver: Any = backend.driver
    return [lun.size for lun in driver.array.luns()]


def failing(make: MakeBackend, error: str) -> LocalBackend:
    return make(driver=ARRAY, nothing_faults=[f"extend_volume={error}"])


@pytest.mark.parametrize(
    "error",
    ["already-mapped", "maximum-size", "host-does-not-exist", "timed-out"],
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


def lost(make: MakeBackend, *traits: str, more: Sequence[str] = ()) -> LocalBackend:
    """The first growth takes effect, and its answer is an error."""
    faults = ["extend_volume:1@after=timed-out", *more]
    return make(driver=ARRAY, nothing_traits=list(traits), nothing_faults=faults)


TRAITS = [
    (),
    ("refuses-same-size",),
    ("extends-by-difference",),
    ("assigned-ids",),
    ("assigned-ids", "refuses-same-size"),
]
every_array = pytest.mark.parametrize("traits", TRAITS, ids=",".join)


@every_array
@pytest.mark.parametrize(("asked", "size"), [(2, 3), (3, 3), (4, 4)])
def test_a_growth_whose_answer_was_lost_is_looked_at_by_the_retry(
    make: MakeBackend, store: ObservedStore, traits: Sequence[str], asked: int, size: int
) -> None:
    backend = lost(make, *traits)
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError, match="timed out"):
        backend.extend_volume(volume, GiB(3))
    left = store.get(Volume, volume.id)
    assert (left.status, left.size, left.target_size) == (Status.AVAILABLE, 1, 3)
    grown = backend.extend_volume(left, GiB(asked))
    assert (grown.status, grown.size, grown.target_size, grown.message) == (Status.AVAILABLE, size, None, "")
    assert sizes(backend) == [size]


@every_array
@pytest.mark.parametrize("present", [1, 2, 3])
def test_a_growth_that_was_interrupted_is_looked_at_first(
    make: MakeBackend, store: ObservedStore, traits: Sequence[str], present: int
) -> None:
    backend = make(driver=ARRAY, nothing_traits=list(traits))
    driver: Any = backend.driver
    volume = backend.create_volume(makers.volume())
    driver.array.extend(driver.array.luns()[0].id, present)
    left = store.replace(replace(volume, status=Status.EXTENDING, target_size=GiB(3), owner="killed"))
    assert (backend.extend_volume(left, GiB(2)).size, sizes(backend)) == (3, [3])
    assert driver.calls["extend_volume"] == (present < 3)


@pytest.mark.parametrize("look", ["timed-out", "none", "text"])
def test_what_cannot_be_looked_at_is_repeated_and_its_error_says_so(
    make: MakeBackend, store: ObservedStore, look: str
) -> None:
    after = "@after" if look != "timed-out" else ""
    backend = lost(make, "refuses-same-size", more=[f"manage_existing_get_size{after}={look}"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError, match="timed out"):
        backend.extend_volume(volume, GiB(2))
    with pytest.raises(
        BackendError,
        match="matches existing size; an earlier attempt may have succeeded, and the size on the back end is",
    ):
        backend.extend_volume(store.get(Volume, volume.id), GiB(2))
    left = store.get(Volume, volume.id)
    assert (left.status, left.size, sizes(backend)) == (Status.AVAILABLE, 1, [2])
    assert "the size on the back end is unknown" in left.message
    assert backend.extend_volume(left, GiB(3)).size == 3


def test_a_driver_that_can_only_grow_is_asked_again(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["extend_volume:1"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.extend_volume(volume, GiB(2))
    assert backend.extend_volume(store.get(Volume, volume.id), GiB(2)).size == 2


def test_a_size_below_the_known_one_is_not_believed(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ARRAY, nothing_faults=["extend_volume:2=timed-out"])
    volume = backend.extend_volume(backend.create_volume(makers.volume()), GiB(3))
    driver: Any = backend.driver
    driver.array.extend(driver.array.luns()[0].id, 2)
    with pytest.raises(BackendError):
        backend.extend_volume(volume, GiB(4))
    grown = backend.extend_volume(store.get(Volume, volume.id), GiB(4))
    assert (grown.size, sizes(backend)) == (4, [4])


def test_a_first_growth_is_not_looked_at(make: MakeBackend) -> None:
    backend = make(driver=ARRAY)
    backend.extend_volume(backend.create_volume(makers.volume()), GiB(2))
    driver: Any = backend.driver
    assert driver.calls["manage_existing_get_size"] == 0
