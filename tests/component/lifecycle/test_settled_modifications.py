"""Modifications that are repeated, settled, or need the volume detached."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.backend.retypes import Retypes
from csi_cinderlib.errors import InUse, PreconditionFailed, Unsupported
from csi_cinderlib.lifecycle import modifications
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Status, Volume, VolumeType
from csi_cinderlib.provisioning.orphan_entries import is_modifying
from csi_cinderlib.provisioning.restored import void_types
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

from .test_unknown_modifications import NEW, OLD, OTHER, RETYPING, SLOW, array, fails, qos, raising


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver=RETYPING)


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


@pytest.fixture
def volume(backend: LocalBackend) -> Volume:
    return backend.create_volume(makers.volume(type=OLD))


def test_a_refusal_of_the_unfinished_change_is_undone_before_the_next(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    fails(backend, volume, NEW)
    driver.fixed, real = {"qos/a", "qos/b"}, driver.retype

    def refused_once(*arguments: Any) -> Any:
        answer = real(*arguments)
        driver.fixed = set()
        return answer

    driver.retype = refused_once
    finished = backend.modify_volume(store.get(Volume, volume.id), OTHER, {})
    asked = [(old, new) for old, new, *_ in driver.asked[1:]]
    assert asked == [(qos(OLD), qos(NEW)), (qos(NEW), qos(OLD)), (qos(OLD), qos(OTHER))]
    assert (finished.type, array(driver, volume)) == (OTHER, qos(OTHER))


@pytest.mark.parametrize("settle", [True, False])
def test_an_unfinished_change_of_detached_volumes_is_not_continued_while_the_volume_is_attached(
    settle: bool, backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    raising(driver, "VolumeBackendAPIException")
    fails(backend, volume, SLOW)
    left = store.get(Volume, volume.id)
    store.add(makers.attachment(volume))
    with pytest.raises(InUse):
        if settle:
            backend.settle_modification(left)
        else:
            backend.modify_volume(left, NEW, {})
    assert len(driver.asked) == 1
    assert store.get(Volume, volume.id) == left


def test_an_attachment_at_the_same_time_leaves_an_unfinished_modification_as_it_was(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    raising(driver, "VolumeBackendAPIException")
    fails(backend, volume, SLOW)
    left = store.get(Volume, volume.id)
    store.before["replace"] = lambda *_: store.add(makers.attachment(volume))
    assert isinstance(fails(backend, left, SLOW), InUse)
    assert store.get(Volume, volume.id).modification == left.modification


def test_a_repeated_attempt_has_the_age_of_the_first_and_no_message_while_it_runs(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    fails(backend, volume, NEW)
    left = store.get(Volume, volume.id)
    assert left.modification is not None
    seen: list[Volume] = []
    observe(driver, "retype", lambda *_: seen.append(store.get(Volume, volume.id)))
    backend.settle_modification(left)
    assert seen[0].modification == replace(left.modification, message="")
    assert not seen[0].modification.detached


@pytest.mark.parametrize("status", [Status.DELETING, Status.ERROR])
def test_only_a_whole_volume_is_settled(status: Status, backend: LocalBackend, volume: Volume) -> None:
    with pytest.raises(PreconditionFailed):
        backend.settle_modification(replace(volume, status=status))
    assert backend.settle_modification(volume) == volume


def test_a_refusal_names_what_differs(backend: LocalBackend, driver: Any, volume: Volume) -> None:
    driver.retype = lambda *_: False
    assert "in place to qos/a, qos/b; create a new volume" in str(fails(backend, volume, NEW))


def test_parameters_that_change_nothing_are_noted_without_a_call_of_the_driver(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    named = VolumeType(name="gold", qos_specs=OLD.qos_specs)
    noted = backend.modify_volume(volume, named, {"type": "gold"})
    assert (noted.type, noted.mutable_parameters, driver.asked) == (named, {"type": "gold"}, [])
    store.calls.clear()
    assert backend.modify_volume(noted, named, {"type": "gold"}) == noted
    assert "replace" not in store.calls


@pytest.mark.parametrize("settle", [True, False])
@pytest.mark.parametrize("wanted", [NEW, OLD])
def test_what_has_begun_is_ended_also_if_a_new_release_allows_less(
    wanted: VolumeType, settle: bool, backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    fails(backend, volume, NEW)
    assert backend._traits is not None
    backend._traits = replace(backend._traits, retypes=Retypes(online=("extraSpecs/other",)))
    if wanted == OLD:
        raising(driver, "VolumeBackendAPIException", half=True)
    left = store.get(Volume, volume.id)
    ended = backend.settle_modification(left) if settle else backend.modify_volume(left, wanted, {})
    assert (ended.type, ended.modification) == (wanted, None)
    assert array(driver, volume) == qos(wanted)
    assert isinstance(fails(backend, ended, OTHER), Unsupported)


def test_a_new_target_is_checked_when_the_unfinished_change_has_ended(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    fails(backend, volume, NEW)
    error = fails(backend, store.get(Volume, volume.id), VolumeType(extra_specs={"copy": "1"}))
    assert isinstance(error, Unsupported)
    left = store.get(Volume, volume.id)
    assert (left.type, left.modification, array(driver, volume)) == (NEW, None, qos(NEW))


@pytest.mark.parametrize("wanted", [NEW, SLOW])
def test_a_refusal_of_a_driver_that_then_has_changed_nothing_leaves_the_volume_as_it_was(
    wanted: VolumeType, make: MakeBackend, store: ObservedStore
) -> None:
    """As one with a mirror, for which the driver refuses each change and so would refuse to undo one."""
    backend = make(driver="tests.support.fakes.retyping.CarefulDriver")
    volume = backend.create_volume(makers.volume())
    driver: Any = backend.driver
    asked: list[int] = []

    def refuse(*_: Any) -> bool:
        asked.append(1)
        return False

    driver.retype = refuse
    assert isinstance(fails(backend, volume, wanted), Unsupported)
    left = store.get(Volume, volume.id)
    assert (left.type, left.modification, left.owner, len(asked)) == (volume.type, None, "", 1)
    backend.connect(left, makers.attachment(left))


def test_a_forgotten_modification_leaves_the_former_type_and_lets_the_volume_be_attached(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    raising(driver, "VolumeBackendAPIException", "VolumeBackendAPIException", "VolumeBackendAPIException")
    fails(backend, volume, SLOW)
    error = fails(backend, store.get(Volume, volume.id), None)
    assert f"run `csi-cinderlib orphans forget --modification {volume.id}`" in str(error)
    forgotten = modifications.forget(store, store.get(Volume, volume.id))
    assert (forgotten.type, forgotten.modification, forgotten.owner) == (volume.type, None, "")
    backend.connect(forgotten, makers.attachment(volume))
    with pytest.raises(PreconditionFailed, match="no unfinished modification"):
        modifications.forget(store, forgotten)


def restored(backend: LocalBackend, volume: Volume, store: ObservedStore) -> Volume:
    """The record of an older copy of the store, from before the modification to NEW."""
    newer = backend.modify_volume(volume, NEW, {"qos/a": "2"})
    store.replace(replace(volume, revision=newer.revision))
    assert void_types(store) == 1
    assert void_types(store) == 0
    left = store.get(Volume, volume.id)
    assert not is_modifying(left)
    return left


@pytest.mark.parametrize("wanted", [OLD, NEW, OTHER])
def test_a_volume_of_a_restored_copy_gets_all_values_again(
    wanted: VolumeType, backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    left = restored(backend, volume, store)
    done = backend.modify_volume(left, wanted, {})
    assert (done.type, done.modification, array(driver, volume)) == (wanted, None, qos(wanted))


def test_a_failure_leaves_a_volume_of_a_restored_copy_unproven(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    left = restored(backend, volume, store)
    for name in ("VolumeBackendAPIException", "InvalidInput"):
        raising(driver, name)
        fails(backend, left, OLD)
        left = store.get(Volume, volume.id)
        assert left.modification is not None
        assert (left.type, left.modification.origin, left.modification.wanted, left.owner) == (OLD, OLD, OLD, "")
        assert array(driver, volume) == qos(NEW)
    assert backend.modify_volume(left, OLD, {}).modification is None
    assert array(driver, volume) == qos(OLD)


def test_a_parameter_that_a_restored_copy_does_not_know_is_removed(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver="tests.support.fakes.retyping.ExactDriver")
    driver: Any = backend.driver
    volume = backend.create_volume(makers.volume())
    left = restored(backend, volume, store)
    assert array(driver, volume) == qos(NEW)
    done = backend.modify_volume(left, None, {})
    assert (done.type, done.modification, array(driver, volume)) == (None, None, {})
