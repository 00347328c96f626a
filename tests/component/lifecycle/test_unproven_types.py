"""Volumes of a restored copy of the store: the back end may have given them other properties since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.backend.retypes import Retypes
from csi_cinderlib.errors import BackendError, InUse, Unsupported
from csi_cinderlib.lifecycle import modifications
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.mutability import unlike
from csi_cinderlib.model.records import MULTIATTACH, YES, Modification, Status, Volume, VolumeType
from csi_cinderlib.provisioning.orphan_entries import is_modifying
from csi_cinderlib.provisioning.restored import void_types
from tests.support.fakes import makers
from tests.support.fakes.retyping import ExactDriver
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

EXACT = "tests.support.fakes.retyping.ExactDriver"
OLD, NEW = (VolumeType(qos_specs={"a": value, "b": value}) for value in "12")
REPLICATED = VolumeType(extra_specs={"replication_enabled": YES})
UNUSUAL = [
    VolumeType(name="gold", qos_specs={"x": "1"}, qos_consumer="front-end"),
    VolumeType(name="gold", qos_specs={"x": "1"}, qos_consumer="both"),
    VolumeType(name="gold", extra_specs={MULTIATTACH: YES, "x": "1"}),
]


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver=EXACT)


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


def restored(backend: LocalBackend, store: ObservedStore, kind: VolumeType | None, **values: Any) -> Volume:
    volume = backend.create_volume(makers.volume(type=kind))
    if values:
        store.replace(replace(volume, **values))
    assert void_types(store) == 1
    return store.get(Volume, volume.id)


def recorded(driver: Any) -> list[Any]:
    """The calls of `retype`, which succeed."""
    asked: list[Any] = []

    def retype(*arguments: Any) -> bool:
        asked.append(arguments)
        return True

    driver.retype = retype
    return asked


@pytest.mark.parametrize("kind", UNUSUAL, ids=["front-end", "both", "multiattach"])
@pytest.mark.parametrize("wanted", [None, NEW])
def test_a_driver_that_is_not_reviewed_is_not_called(
    kind: VolumeType, wanted: VolumeType | None, make: MakeBackend, store: ObservedStore
) -> None:
    """It may copy the volume and delete the original."""
    backend = make(driver="tests.support.fakes.nothing.NothingDriver")
    asked = recorded(backend.driver)
    left = restored(backend, store, kind)
    for target in (wanted, kind):
        with pytest.raises(Unsupported, match="its driver does not support it"):
            backend.modify_volume(left, target, {})
    assert backend.settle_modification(left) == left
    assert asked == []
    assert store.get(Volume, left.id) == left


def test_a_driver_that_may_change_nothing_any_more_is_not_called_to_end_what_has_begun(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver="tests.support.fakes.nothing.NothingDriver")
    asked = recorded(backend.driver)
    volume = backend.create_volume(makers.volume(type=OLD))
    left = store.replace(replace(volume, modification=Modification(origin=OLD, wanted=NEW, begun_at="then")))
    for end in (lambda record: backend.modify_volume(record, NEW, {}), backend.settle_modification):
        with pytest.raises(BackendError, match=f"forget --modification {volume.id}"):
            end(left)
        left = store.get(Volume, volume.id)
    assert is_modifying(left)
    assert asked == []


@pytest.mark.parametrize("kind", [*UNUSUAL, None, OLD])
def test_only_reviewed_parameters_differ_from_the_wanted_type(kind: VolumeType | None) -> None:
    origin, wanted = unlike(ExactDriver.RETYPES, kind), kind or VolumeType()
    assert replace(origin, extra_specs={}, qos_specs={}) == replace(wanted, extra_specs={}, qos_specs={})
    assert origin.extra_specs == wanted.extra_specs
    assert {key for key, value in origin.qos_specs.items() if wanted.qos_specs.get(key) != value} <= {"a", "b"}


def test_a_volume_that_the_driver_must_not_modify_is_not_touched(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    left = restored(backend, store, REPLICATED)
    for wanted in (replace(REPLICATED, qos_specs={"a": "1"}), REPLICATED):
        with pytest.raises(Unsupported, match=r"nothing of a volume with extraSpecs/replication_enabled"):
            backend.modify_volume(left, wanted, {})
    assert driver.asked == []


def test_a_class_that_is_refused_is_refused_before_the_driver_is_called(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    left = restored(backend, store, OLD)
    with pytest.raises(Unsupported, match=r"not extraSpecs/unknown"):
        backend.modify_volume(left, VolumeType(extra_specs={"unknown": "1"}), {})
    assert driver.asked == []
    assert store.get(Volume, left.id) == left


def test_the_wanted_values_are_set_in_one_call(backend: LocalBackend, driver: Any, store: ObservedStore) -> None:
    """Set to the former ones first, the volume would lose its limits, or its space, in between."""
    left = restored(backend, store, None)
    done = backend.modify_volume(left, NEW, {"qos/a": "2"})
    assert (done.type, done.modification, done.mutable_parameters, done.owner) == (NEW, None, {"qos/a": "2"}, "")
    assert [new for _, new, *_ in driver.asked] == [{"qos/a": "2", "qos/b": "2"}]


@pytest.mark.parametrize("answer", ["False", "InvalidInput"])
def test_a_refusal_does_not_prove_that_nothing_was_changed(
    answer: str, backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    from cinder import exception

    left = restored(backend, store, OLD)

    def refuse(*_: Any) -> bool:
        driver.properties[left.id] = {"qos/a": "2"}
        if answer == "False":
            return False
        raise exception.InvalidInput(reason="the array says no")

    driver.retype = refuse
    with pytest.raises(BackendError, match="may be modified in part"):
        backend.modify_volume(left, NEW, {})
    kept = store.get(Volume, left.id)
    assert (kept.type, is_modifying(kept), kept.owner) == (OLD, False, "")
    del driver.retype
    assert backend.modify_volume(kept, OLD, {}).modification is None
    assert driver.properties[left.id] == {"qos/a": "1", "qos/b": "1"}


def test_a_driver_that_refuses_before_it_changes_anything_is_believed(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver="tests.support.fakes.retyping.CarefulDriver")
    driver: Any = backend.driver
    left = restored(backend, store, OLD)
    driver.fixed = {"qos/a"}
    with pytest.raises(Unsupported, match="cannot change volume"):
        backend.modify_volume(left, NEW, {})
    kept = store.get(Volume, left.id)
    assert (kept.type, kept.modification is not None, is_modifying(kept)) == (OLD, True, False)


def test_a_parameter_for_detached_volumes_is_not_set_while_the_volume_is_attached(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver=EXACT)
    driver: Any = backend.driver
    backend._traits = replace(backend._ready(), retypes=Retypes(online=("qos/a",), detached=("qos/b",)))
    left = restored(backend, store, OLD)
    attachment = backend.connect(left, makers.attachment(left))
    with pytest.raises(InUse):
        backend.modify_volume(store.get(Volume, left.id), OLD, {})
    assert driver.asked == []
    backend.disconnect(attachment)
    assert backend.modify_volume(store.get(Volume, left.id), OLD, {}).modification is None


def test_a_modification_that_was_unfinished_in_the_copy_is_not_finished(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    """It has ended since, and perhaps others have followed."""
    begun = Modification(origin=OLD, wanted=NEW, mutable_parameters={"qos/a": "2"}, begun_at="then")
    left = restored(backend, store, OLD, modification=begun)
    assert void_types(store) == 0
    assert not is_modifying(left)
    assert modifications.settle(backend._modifying(), left) == left
    driver.properties[left.id] = {"qos/a": "3", "qos/b": "3"}
    done = backend.modify_volume(left, NEW, {"qos/a": "2"})
    assert (done.type, done.modification) == (NEW, None)
    assert driver.properties[left.id] == {"qos/a": "2", "qos/b": "2"}


def test_a_volume_that_was_extended_in_the_copy_gets_all_values_again(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    left = restored(backend, store, OLD, status=Status.EXTENDING, target_size=2)
    driver.properties[left.id] = {"qos/a": "3"}
    grown = backend.extend_volume(left, left.target_size)  # type: ignore[arg-type]  # set above
    assert backend.modify_volume(grown, OLD, {}).modification is None
    assert driver.properties[left.id] == {"qos/a": "1", "qos/b": "1"}


def test_a_volume_of_a_restored_copy_is_used_as_before(backend: LocalBackend, store: ObservedStore) -> None:
    left = restored(backend, store, OLD)
    backend.disconnect(backend.connect(left, makers.attachment(left)))
    backend.delete_volume(store.get(Volume, left.id))
    assert store.page(Volume).records == ()
