"""Modifications whose outcome is unknown: only the driver's success proves a state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.cinder.in_place import WouldCopy
from csi_cinderlib.csi import status
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    DriverError,
    InUse,
    InvalidRequest,
    PreconditionFailed,
    Unsupported,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Modification, Status, Volume, VolumeType
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

RETYPING = "tests.support.fakes.retyping.RetypingDriver"
OLD, NEW, OTHER = (VolumeType(qos_specs={"a": value, "b": value}) for value in "123")
SLOW = VolumeType(extra_specs={"slow:x": "1"})


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver=RETYPING)


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


@pytest.fixture
def volume(backend: LocalBackend) -> Volume:
    return backend.create_volume(makers.volume(type=OLD))


def array(driver: Any, volume: Volume) -> dict[str, str]:
    found: dict[str, str] = driver.properties[volume.id]
    return found


def qos(kind: VolumeType) -> dict[str, str]:
    return {f"qos/{key}": value for key, value in kind.qos_specs.items()}


def fails(backend: LocalBackend, record: Volume, wanted: VolumeType | None) -> DriverError:
    with pytest.raises(DriverError) as raised:
        backend.modify_volume(record, wanted, {"qos/a": "x"})
    return raised.value


def raising(driver: Any, *errors: str, half: bool = False) -> None:
    """Let the next calls fail with Cinder's exceptions of these names, in turn, before or after the first property."""
    from cinder import exception

    waiting, real = list(errors), driver._called

    def called(method: str, id: str = "") -> None:
        real(method, id)
        if waiting and method == ("retype_half" if half else "retype"):
            cls = getattr(exception, waiting.pop(0))
            raise cls(data="the array says no", reason="the array says no", message="the array says no")

    driver._called = called


def test_after_a_refusal_the_driver_restores_what_it_may_have_changed(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    driver.fixed, driver.liar = {"qos/b"}, True
    real = driver.retype

    def refused_once(*arguments: Any) -> Any:
        answer = real(*arguments)
        driver.fixed = set()
        return answer

    driver.retype = refused_once
    error = fails(backend, volume, NEW)
    assert isinstance(error, Unsupported)
    assert status.code(error).name == "INVALID_ARGUMENT"
    assert array(driver, volume) == qos(OLD)
    left = store.get(Volume, volume.id)
    assert (left.type, left.modification, left.owner, left.mutable_parameters) == (OLD, None, "", {})
    assert [(old, new) for old, new, *_ in driver.asked] == [(qos(OLD), qos(NEW)), (qos(NEW), qos(OLD))]


@pytest.mark.parametrize("name", ["InvalidInput", "InvalidVolumeType", "InvalidQoSSpecs", "NotSupportedOperation"])
def test_an_error_about_the_parameters_is_none_until_all_is_restored(
    name: str, backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, name, half=True)
    error = fails(backend, volume, NEW)
    assert isinstance(error, InvalidRequest | Unsupported)
    assert array(driver, volume) == qos(OLD)
    assert store.get(Volume, volume.id).modification is None


@pytest.mark.parametrize("second", ["InvalidInput", "VolumeBackendAPIException", "InvalidVolume"])
def test_what_cannot_be_restored_stays_unknown_and_is_internal(
    second: str, backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "InvalidInput", second, half=True)
    error = fails(backend, volume, NEW)
    assert type(error) is BackendError
    assert status.code(error).name == "INTERNAL"
    left = store.get(Volume, volume.id)
    assert left.modification is not None
    assert (left.type, left.modification.origin, left.modification.wanted, left.owner) == (OLD, OLD, NEW, "")
    assert "could not be undone" in left.modification.message
    assert backend.modify_volume(left, OLD, {}).modification is None
    assert array(driver, volume) == qos(OLD)


def test_a_refusal_to_restore_stays_unknown(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    driver.fixed, driver.liar = {"qos/a", "qos/b"}, True
    error = fails(backend, volume, NEW)
    assert type(error) is BackendError
    left = store.get(Volume, volume.id)
    assert left.modification is not None
    assert left.modification.message.endswith("and the driver refuses to undo it")
    driver.fixed = set()
    finished = backend.modify_volume(left, NEW, {"qos/a": "2"})
    assert (finished.type, finished.modification, finished.mutable_parameters) == (NEW, None, {"qos/a": "2"})
    assert array(driver, volume) == qos(NEW)


def test_an_unfinished_modification_is_finished_before_the_next(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    assert type(fails(backend, volume, NEW)) is BackendError
    finished = backend.modify_volume(store.get(Volume, volume.id), OTHER, {})
    assert [(old, new) for old, new, *_ in driver.asked[1:]] == [(qos(OLD), qos(NEW)), (qos(NEW), qos(OTHER))]
    assert (finished.type, finished.modification) == (OTHER, None)
    assert array(driver, volume) == qos(OTHER)


@pytest.mark.parametrize("wanted", [OLD, OTHER])
@pytest.mark.parametrize("why", ["VolumeBackendAPIException", "InvalidInput", "InvalidVolume", "QuotaError"])
def test_what_cannot_be_finished_is_undone_before_the_next(
    why: str, wanted: VolumeType, backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", why, half=True)
    fails(backend, volume, NEW)
    finished = backend.modify_volume(store.get(Volume, volume.id), wanted, {})
    assert (finished.type, finished.modification, finished.owner) == (wanted, None, "")
    assert array(driver, volume) == qos(wanted)
    assert (qos(NEW), qos(OLD)) == driver.asked[2][:2]


def test_a_silent_array_is_asked_only_once(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    fails(backend, volume, NEW)

    def silent(*_: Any) -> Any:
        asked.append(1)
        raise ConnectionError("no route")

    asked: list[int] = []
    driver.retype = silent
    left = store.get(Volume, volume.id)
    assert isinstance(fails(backend, left, OTHER), BackendUnavailable)
    assert len(asked) == 1
    left = store.get(Volume, volume.id)
    assert left.modification is not None
    assert (left.modification.wanted, left.modification.message) == (NEW, "back end 'fake': no route")


def test_a_member_of_a_set_is_moved_after_an_interruption(backend: LocalBackend, driver: Any, volume: Volume) -> None:
    """A driver that starts from the old value: it adds the volume to the new set, then removes it from the old one."""
    sets: dict[str, set[str]] = {"1": {volume.id}, "2": set(), "3": set()}
    deaths = [True]

    def retype(_context: Any, subject: Any, _type: Any, diff: Any, _host: Any) -> Any:
        old, new = diff["qos_specs"]["a"]
        assert volume.id in sets[old] or volume.id in sets[new], "no such member"
        sets[new].add(subject.id)
        if deaths:
            deaths.pop()
            raise OSError("killed")
        sets[old].discard(subject.id)
        return True

    driver.retype = retype
    fails(backend, volume, NEW)
    current = backend.modify_volume(backend._ledger.store.get(Volume, volume.id), OTHER, {})
    assert sets == {"1": set(), "2": set(), "3": {volume.id}}
    assert current.type == OTHER


def test_a_driver_that_would_copy_is_stopped_and_nothing_has_changed(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    asked: list[int] = []

    def retype(*_: Any) -> Any:
        asked.append(1)
        raise WouldCopy("the driver would copy the volume")

    driver.retype = retype
    assert isinstance(fails(backend, volume, NEW), Unsupported)
    left = store.get(Volume, volume.id)
    assert replace(left, revision=volume.revision) == volume
    assert len(asked) == 1


def test_a_driver_that_would_copy_does_not_prove_what_happened_before(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    raising(driver, "VolumeBackendAPIException", half=True)
    fails(backend, volume, NEW)

    def retype(*_: Any) -> Any:
        raise WouldCopy("the driver would copy the volume")

    driver.retype = retype
    assert type(fails(backend, store.get(Volume, volume.id), NEW)) is BackendError
    assert store.get(Volume, volume.id).modification is not None


def test_a_modification_of_detached_volumes_refuses_attached_ones(backend: LocalBackend, driver: Any) -> None:
    volume = backend.create_volume(makers.volume())
    backend.connect(volume, makers.attachment(volume))
    current = backend._ledger.store.get(Volume, volume.id)
    assert isinstance(fails(backend, current, SLOW), InUse)
    assert driver.asked == []
    assert backend._ledger.store.get(Volume, volume.id) == current


def test_a_volume_is_not_attached_while_its_unfinished_modification_needs_it_detached(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    raising(driver, "VolumeBackendAPIException")
    fails(backend, volume, SLOW)
    left = store.get(Volume, volume.id)
    with pytest.raises(PreconditionFailed, match=r"unfinished modification.*the array says no"):
        backend.connect(left, makers.attachment(volume))
    finished = backend.modify_volume(store.get(Volume, volume.id), SLOW, {})
    backend.connect(finished, makers.attachment(volume))


def test_an_attachment_that_comes_at_the_same_time_wins(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    """Its record is stored after the modification has looked for attachments, and before the intent is stored."""
    volume = backend.create_volume(makers.volume())

    def attach(*_: Any) -> None:
        store.add(makers.attachment(volume))

    store.before["replace"] = attach
    assert isinstance(fails(backend, volume, SLOW), InUse)
    assert driver.asked == []
    left = store.get(Volume, volume.id)
    assert (left.modification, left.owner) == (None, "")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"status": Status.EXTENDING, "target_size": 2, "owner": "dead"}, "unfinished extension"),
        ({"group_id": "g"}, "group 'g'"),
    ],
)
def test_a_volume_in_another_operation_is_not_modified(
    change: dict[str, Any], text: str, backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    current = store.replace(replace(volume, **change))
    with pytest.raises(PreconditionFailed, match=text):
        backend.modify_volume(current, NEW, {})
    assert driver.asked == []


@pytest.mark.parametrize("attached", [True, False])
def test_the_driver_sees_the_states_of_cinder(
    attached: bool, backend: LocalBackend, driver: Any, volume: Volume
) -> None:
    if attached:
        backend.connect(volume, makers.attachment(volume))
    seen: list[tuple[str, str]] = []

    def look(_context: Any, subject: Any, *_: Any) -> None:
        subject.metadata = {**subject.metadata, "k": "v"}
        subject.save()
        seen.append((subject.status, subject.previous_status))

    observe(driver, "retype", look)
    modified = backend.modify_volume(backend._ledger.store.get(Volume, volume.id), NEW, {})
    assert seen == [("retyping", "in-use" if attached else "available")]
    assert (modified.status, modified.metadata["k"]) == (Status.AVAILABLE, "v")
    assert "status" not in modified.fields
    assert "previous_status" not in modified.fields


def test_qos_has_the_id_of_its_content_before_during_and_after(
    backend: LocalBackend, driver: Any, volume: Volume
) -> None:
    from cinder.volume import volume_types

    def ids(kind: Any) -> Any:
        return volume_types.get_volume_type_qos_specs(kind["id"])["qos_specs"]["id"]

    seen: list[tuple[str, str]] = []
    observe(driver, "retype", lambda _context, subject, kind, *_: seen.append((ids(subject.volume_type), ids(kind))))
    current = volume
    for wanted in (NEW, OTHER, OLD):
        current = backend.modify_volume(current, wanted, {})
    (old, new), (new_again, other), (other_again, old_again) = seen
    assert (new, other, old) == (new_again, other_again, old_again)
    assert len({old, new, other}) == 3


def test_a_process_that_died_between_the_refusal_and_the_way_back_is_continued(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    driver.properties[volume.id]["qos/a"] = "2"
    begun = Modification(origin=OLD, wanted=NEW, mutable_parameters={})
    left = store.replace(replace(volume, owner="dead", modification=begun))
    assert backend.modify_volume(left, OLD, {}).type == OLD
    assert array(driver, volume) == qos(OLD)
