"""The life of a modification: stored before the driver is called, finished or left for the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.errors import NotFound, OperationPending, StaleRecord, StoreUnavailable
from csi_cinderlib.inspection.description import describe
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model import times
from csi_cinderlib.model.records import Modification, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

RETYPING = "tests.support.fakes.retyping.RetypingDriver"
FAST = VolumeType(qos_specs={"iops": "500"})
PARAMETERS = {"qos/iops": "500"}


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver=RETYPING)


@pytest.fixture
def volume(backend: LocalBackend) -> Volume:
    return backend.create_volume(makers.volume())


def properties(backend: LocalBackend, volume: Volume) -> object:
    driver: Any = backend.driver
    return driver.properties[volume.id]


def test_the_intent_is_stored_before_the_driver_is_called(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    seen: list[Volume] = []
    observe(backend.driver, "retype", lambda *_: seen.append(store.get(Volume, volume.id)))
    modified = backend.modify_volume(volume, FAST, PARAMETERS)
    assert (seen[0].type, seen[0].owner, seen[0].status) == (None, "me", Status.AVAILABLE)
    begun = seen[0].modification
    assert begun is not None
    assert times.parse(begun.begun_at)
    assert replace(begun, begun_at="") == Modification(wanted=FAST, mutable_parameters=PARAMETERS)
    assert (modified.type, modified.modification, modified.owner) == (FAST, None, "")


def test_without_the_intent_the_driver_is_not_called(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    store.before["replace"] = unavailable
    with pytest.raises(StoreUnavailable):
        backend.modify_volume(volume, FAST, PARAMETERS)
    assert properties(backend, volume) == {}
    assert store.get(Volume, volume.id) == volume


def test_a_result_that_could_not_be_stored_is_stored_by_the_next_attempt(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    losses = [unavailable]

    def lose_result(*_arguments: object) -> None:
        if losses:
            store.before["replace"] = losses.pop()

    observe(backend.driver, "retype", lose_result)
    with pytest.raises(StoreUnavailable):
        backend.modify_volume(volume, FAST, PARAMETERS)
    left = store.get(Volume, volume.id)
    assert (left.type, left.owner) == (None, "")
    assert left.modification is not None
    assert left.modification.message == "modified, but the result could not be stored: the store is away"
    assert backend.modify_volume(left, FAST, PARAMETERS).type == FAST


def test_an_interrupted_modification_of_a_dead_process_is_taken_over(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    left = store.replace(
        replace(volume, owner="dead", modification=Modification(wanted=FAST, mutable_parameters=PARAMETERS))
    )
    assert backend.modify_volume(left, None, {}).type is None
    driver: Any = backend.driver
    assert [(old, new) for old, new, _, _ in driver.asked] == [({}, {"qos/iops": "500"}), ({"qos/iops": "500"}, {})]


CALLS: dict[str, Callable[[LocalBackend, Volume], object]] = {
    "modify": lambda backend, volume: backend.modify_volume(volume, None, {}),
    "connect": lambda backend, volume: backend.connect(volume, makers.attachment(volume)),
    "extend": lambda backend, volume: backend.extend_volume(volume, GiB(2)),
    "delete": lambda backend, volume: backend.delete_volume(volume),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_volume_that_another_process_modifies_is_left_to_it(
    name: str, make: MakeBackend, store: ObservedStore
) -> None:
    here = make(driver=RETYPING, owner="here", is_alive=lambda _owner: True)
    there = make(driver=RETYPING, owner="there", is_alive=lambda _owner: True)
    volume = here.create_volume(makers.volume())
    refused: list[Exception] = []

    def meanwhile(*_arguments: object) -> None:
        try:
            CALLS[name](there, store.get(Volume, volume.id))
        except OperationPending as error:
            refused.append(error)

    observe(here.driver, "retype", meanwhile)
    assert here.modify_volume(volume, FAST, PARAMETERS).type == FAST
    assert len(refused) == 1


@pytest.mark.parametrize("change", ["taken over", "removed"])
def test_a_record_that_was_lost_meanwhile_is_not_written(
    change: str, backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    def lose(*_arguments: object) -> None:
        current = store.get(Volume, volume.id)
        if change == "removed":
            store.remove(current)
        else:
            store.replace(replace(current, owner="another"))

    observe(backend.driver, "retype", lose)
    with pytest.raises(NotFound if change == "removed" else StaleRecord):
        backend.modify_volume(volume, FAST, PARAMETERS)
    if change == "taken over":
        assert store.get(Volume, volume.id).owner == "another"


def test_a_description_shows_the_type_and_an_unfinished_modification(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    store.replace(
        replace(
            volume,
            type=FAST,
            mutable_parameters=PARAMETERS,
            modification=Modification(origin=FAST, wanted=None, message="the array says no"),
        )
    )
    shown = describe(store, Volume, volume.id, datetime.now(UTC)).as_row()
    assert shown["type"]["qos_specs"] == {"iops": "500"}
    assert shown["mutable_parameters"] == PARAMETERS
    assert shown["modification"]["message"] == "the array says no"


def unavailable(*_arguments: object) -> None:
    raise StoreUnavailable("the store is away")
