"""A creation that got no answer may be carried out after everything was cleaned up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Provider, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.array import SNAPSHOT, VOLUME
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"


@pytest.fixture(params=[["unique-names"], []], ids=["unique names", "names that repeat"])
def backend(request: pytest.FixtureRequest, make: MakeBackend) -> LocalBackend:
    return make(driver=ARRAY, nothing_traits=request.param)


def answer_late(driver: Any, method: str) -> Callable[[], object]:
    """The next call gets no answer. What is returned lets the array carry it out."""
    original = getattr(driver, method)
    waiting: list[Callable[[], object]] = []

    def no_answer(*arguments: Any) -> Any:
        setattr(driver, method, original)
        waiting.append(lambda: original(*arguments))
        raise TimeoutError("no response within 60 seconds")

    setattr(driver, method, no_answer)

    def carry_out() -> object:
        return waiting.pop()()

    return carry_out


def test_a_volume_that_is_created_late_is_found_again(backend: LocalBackend, store: ObservedStore) -> None:
    driver: Any = backend.driver
    carry_out = answer_late(driver, "create_volume")
    wanted = makers.volume()
    with pytest.raises(BackendUnavailable, match="no response"):
        backend.create_volume(wanted)
    carry_out()
    left = store.get(Volume, wanted.id)
    assert left.status is Status.ERROR
    assert "may still create it" in left.message
    assert backend.resume_create_volume(left).status is Status.AVAILABLE
    assert len(driver.array.luns(VOLUME)) == 1


def test_a_volume_that_is_created_late_is_deleted_when_nobody_wants_it(
    backend: LocalBackend, store: ObservedStore
) -> None:
    driver: Any = backend.driver
    carry_out = answer_late(driver, "create_volume")
    wanted = makers.volume()
    with pytest.raises(BackendUnavailable):
        backend.create_volume(wanted)
    carry_out()
    backend.delete_volume(store.get(Volume, wanted.id))
    assert (driver.array.luns(VOLUME), store.page(Volume).records) == ([], ())


def test_a_snapshot_that_is_taken_late_is_found_again(backend: LocalBackend, store: ObservedStore) -> None:
    driver: Any = backend.driver
    volume = backend.create_volume(makers.volume())
    carry_out = answer_late(driver, "create_snapshot")
    wanted = makers.snapshot(volume)
    with pytest.raises(BackendUnavailable, match="no response"):
        backend.create_snapshot(wanted)
    carry_out()
    assert backend.resume_create_snapshot(store.get(Snapshot, wanted.id)).status is Status.AVAILABLE
    assert len(driver.array.luns(SNAPSHOT)) == 1


def test_a_creation_that_starts_over_has_forgotten_the_ids_of_what_was_cleaned_up(
    make: MakeBackend, store: ObservedStore
) -> None:
    """Else it would look for the next one by them, if it is killed as well, and nobody would hear of that one."""
    backend = make(driver=ARRAY, nothing_traits=["assigned-ids"])
    driver: Any = backend.driver
    volume, wanted = backend.create_volume(makers.volume()), makers.volume()
    first = driver.array.create(VOLUME, f"volume-{wanted.id}", 1)
    store.add(
        replace(wanted, host=volume.host, status=Status.CREATING, owner="me", provider=Provider(id="1", location=first))
    )
    seen = observe(driver, "create_volume", lambda _volume: store.get(Volume, wanted.id).provider)
    made = backend.resume_create_volume(store.get(Volume, wanted.id))
    assert seen == [Provider()]
    assert first not in {lun.id for lun in driver.array.luns(VOLUME)}
    assert made.provider.location in {lun.id for lun in driver.array.luns(VOLUME)}
