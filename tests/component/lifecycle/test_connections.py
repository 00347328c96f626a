"""Connections: exports, fences, and the never-formatted mark."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, InUse, InvalidRequest, PreconditionFailed
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend


def driver(backend: LocalBackend) -> Any:
    return backend.driver


def again(store: ObservedStore, volume: Volume) -> Volume:
    return store.get(Volume, volume.id)


def test_a_connection_tells_the_node_where_the_volume_is(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    assert (made.status, made.owner) == (Status.AVAILABLE, "")
    assert made.connection_info["driver_volume_type"] == "nothing"
    assert made.connection_info["data"] == {
        "device_path": f"/nowhere/{volume.id}",
        "qos_specs": None,
        "access_mode": "rw",
        "encrypted": False,
        "enforce_multipath": False,
    }
    assert again(store, volume).provider.auth == "CHAP nobody secret"


def test_the_connection_is_made_with_what_the_export_answered(make: MakeBackend, store: ObservedStore) -> None:
    """Cinder's iSCSI targets answer credentials and portal to the export, and read them from the volume afterwards."""
    backend = make(driver="tests.support.fakes.array_driver.ArrayDriver")
    volume = backend.create_volume(makers.volume())
    data = backend.connect(volume, makers.attachment(volume)).connection_info["data"]
    assert isinstance(data, dict)
    assert (data["auth_username"], data["auth_password"]) == ("node-1", "password-of-the-target")
    assert again(store, volume).provider.auth == "CHAP node-1 password-of-the-target"


def test_the_same_attachment_again_returns_it_without_asking_the_driver(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    first = backend.connect(volume, makers.attachment(volume))
    assert backend.connect(again(store, volume), makers.attachment(volume)) == first
    assert driver(backend).calls["initialize_connection"] == 1


def test_a_mapping_goes_with_its_volume(make: MakeBackend, store: ObservedStore) -> None:
    """Else what the array has lost could never be detached, and so never deleted."""
    backend = make(nothing_fail=["terminate_connection"], nothing_exception="VolumeNotFound", nothing_error="{id}")
    volume = backend.create_volume(makers.volume())
    backend.disconnect(backend.connect(volume, makers.attachment(volume)))
    assert backend.attachments(volume.id) == ()
    assert driver(backend).exports == set()
    backend.delete_volume(again(store, volume))


def test_an_export_that_the_driver_says_is_shared_stays(make: MakeBackend) -> None:
    backend = make(nothing_shared_connection=True)
    volume = backend.create_volume(makers.volume())
    backend.disconnect(backend.connect(volume, makers.attachment(volume)))
    assert driver(backend).mapped == set()
    assert driver(backend).exports == {volume.id}


def test_the_export_goes_with_the_last_attachment_only(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    one = backend.connect(volume, makers.attachment(volume, "node-1"))
    two = backend.connect(again(store, volume), makers.attachment(volume, "node-2"))
    backend.disconnect(one)
    assert driver(backend).exports == {volume.id}
    assert driver(backend).mapped == {(volume.id, "node-2")}
    backend.disconnect(two)
    assert driver(backend).exports == set()
    assert backend.attachments(volume.id) == ()


def second(volume: Volume, **connector: object) -> Attachment:
    """One more attachment of the same node, as the library makes it for each of its connections."""
    return replace(makers.attachment(volume, connector=connector), id=makers.new_id())


def test_of_two_connections_to_one_host_the_first_to_go_leaves_the_other_its_mapping(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    one = backend.connect(volume, makers.attachment(volume))
    two = backend.connect(again(store, volume), second(volume))
    backend.disconnect(one)
    assert (driver(backend).mapped, driver(backend).exports) == ({(volume.id, "node-1")}, {volume.id})
    backend.disconnect(two)
    assert (driver(backend).mapped, driver(backend).exports) == (set(), set())
    assert driver(backend).calls["terminate_connection"] == 1


@pytest.mark.parametrize(
    "differs",
    [{"initiator": "iqn.2010-10.test:another"}, {"nqn": "nqn.another"}, {"wwpns": ["5001"]}, {"host": "another"}],
)
def test_another_host_does_not_keep_one_in_whatever_they_have_in_common(
    backend: LocalBackend, store: ObservedStore, differs: dict[str, object]
) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    one = backend.connect(volume, makers.attachment(volume))
    backend.connect(again(store, volume), second(volume, **differs))
    backend.disconnect(one)
    assert driver(backend).calls["terminate_connection"] == 1


def test_of_two_disconnections_from_one_host_at_once_both_lock_it_out(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    one = backend.connect(volume, makers.attachment(volume))
    two = backend.connect(again(store, volume), second(volume))
    store.replace(replace(two, status=Status.DELETING, owner="another process"))
    backend.disconnect(one)
    assert driver(backend).mapped == set()


def test_a_failed_second_connection_to_a_host_leaves_the_first_one_its_mapping(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(nothing_fail=["initialize_connection:2"])
    volume = backend.create_volume(makers.volume(multiattach=True))
    backend.connect(volume, makers.attachment(volume))
    with pytest.raises(BackendError):
        backend.connect(again(store, volume), second(volume))
    assert driver(backend).mapped == {(volume.id, "node-1")}


def test_a_failed_connection_leaves_the_export_to_one_that_came_meanwhile(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(nothing_fail=["initialize_connection"])
    volume = backend.create_volume(makers.volume(multiattach=True))
    there = replace(makers.attachment(volume, "node-2"), status=Status.AVAILABLE)
    original = driver(backend).create_export

    def another_comes(*arguments: Any) -> Any:
        store.add(there)
        return original(*arguments)

    driver(backend).create_export = another_comes
    with pytest.raises(BackendError):
        backend.connect(volume, makers.attachment(volume, "node-1"))
    assert driver(backend).exports == {volume.id}


def test_an_attachment_without_a_connector_has_no_mapping_and_may_have_an_export(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    backend.disconnect(store.replace(replace(made, connector={})))
    assert driver(backend).calls["terminate_connection"] == 0
    assert driver(backend).exports == set()


def test_a_disconnection_is_never_forced(backend: LocalBackend) -> None:
    """By force a driver takes away the mappings of all hosts."""
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    asked = []
    driver(backend).terminate_connection = lambda _volume, _connector, **named: asked.append(named)
    backend.disconnect(made)
    assert asked == [{"force": False}]


def test_disconnecting_twice_is_fine(backend: LocalBackend) -> None:
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    backend.disconnect(made)
    backend.disconnect(made)
    assert driver(backend).calls["terminate_connection"] == 1


def test_a_failed_disconnection_keeps_its_record_and_is_repeated(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["terminate_connection:1"])
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    with pytest.raises(BackendError):
        backend.disconnect(made)
    left = store.get(Attachment, made.id)
    assert left.status is Status.DELETING
    assert "the array says no" in left.message
    backend.disconnect(left)
    assert store.page(Attachment).records == ()


def test_an_export_that_stays_does_not_hold_up_the_fence(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["remove_export"])
    volume = backend.create_volume(makers.volume())
    backend.disconnect(backend.connect(volume, makers.attachment(volume)))
    assert driver(backend).mapped == set()
    assert store.page(Attachment).records == ()


@pytest.mark.parametrize("method", ["create_export", "initialize_connection"])
def test_a_failed_connection_leaves_neither_mapping_nor_record(
    make: MakeBackend, store: ObservedStore, method: str
) -> None:
    backend = make(nothing_fail=[method])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError, match="the array says no"):
        backend.connect(volume, makers.attachment(volume))
    assert store.page(Attachment).records == ()
    assert (driver(backend).exports, driver(backend).mapped) == (set(), set())


def test_a_failed_connection_whose_export_stays_has_a_record_that_says_so(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(nothing_fail=["initialize_connection", "remove_export"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.connect(volume, makers.attachment(volume))
    (left,) = store.page(Attachment).records
    said = "back end 'fake': the array says no"
    assert (left.status, left.message) == (Status.ERROR, f"{said}; clean-up failed as well: {said}")
    assert not again(store, volume).blank


def test_a_connection_that_fails_once_its_volume_is_gone_is_forgotten(make: MakeBackend, store: ObservedStore) -> None:
    """Another process deletes the volume as soon as nothing is attached."""
    backend = make(nothing_fail=["initialize_connection"])
    volume = backend.create_volume(makers.volume())

    def the_volume_goes(_attachment: object) -> None:
        store.before["replace"] = lambda _volume: store.remove(again(store, volume))

    store.before["remove"] = the_volume_goes
    with pytest.raises(BackendError, match="the array says no"):
        backend.connect(volume, makers.attachment(volume))
    assert (store.page(Attachment).records, store.page(Volume).records) == ((), ())


def test_a_failed_second_connection_leaves_the_first_one_its_export(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["initialize_connection:2"])
    volume = backend.create_volume(makers.volume(multiattach=True))
    backend.connect(volume, makers.attachment(volume, "node-1"))
    with pytest.raises(BackendError):
        backend.connect(again(store, volume), makers.attachment(volume, "node-2"))
    assert driver(backend).exports == {volume.id}
    assert [one.node_id for one in backend.attachments(volume.id)] == ["node-1"]


def test_an_interrupted_connection_is_made_again(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    store.add(replace(makers.attachment(volume), owner="dead"))
    assert backend.connect(volume, makers.attachment(volume)).status is Status.AVAILABLE


def test_an_interrupted_connection_is_made_again_as_it_is_asked_for_now(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    left = store.add(replace(makers.attachment(volume), owner="dead", message="it failed", blank=True))
    wanted = makers.attachment(volume, connector={"initiator": "iqn.2010-10.test:new"}, read_only=True)
    made = backend.connect(volume, wanted)
    assert (made.id, made.connector, made.read_only) == (left.id, wanted.connector, True)
    assert (made.status, made.owner, made.message, made.blank) == (Status.AVAILABLE, "", "", True)
    assert store.get(Attachment, made.id) == made


def test_an_attachment_tells_when_it_was_made_and_keeps_that(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    assert backend.connect(volume, makers.attachment(volume)).created_at
    given = replace(makers.attachment(volume, "node-2"), created_at="2020-01-01T00:00:00.000000Z")
    assert backend.connect(again(store, volume), given).created_at == given.created_at


def test_while_it_is_made_an_attachment_names_its_owner(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    seen: list[Attachment] = []
    original = driver(backend).create_export

    def observed(*arguments: Any) -> Any:
        seen.extend(store.page(Attachment).records)
        return original(*arguments)

    driver(backend).create_export = observed
    backend.connect(volume, replace(makers.attachment(volume), status=Status.AVAILABLE))
    assert [(one.status, one.owner) for one in seen] == [(Status.CREATING, "me")]


def test_the_first_attachment_takes_the_never_formatted_mark_over(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    one = backend.connect(volume, makers.attachment(volume, "node-1"))
    two = backend.connect(again(store, volume), makers.attachment(volume, "node-2"))
    assert (one.blank, two.blank, again(store, volume).blank) == (True, False, False)


def test_a_node_that_had_the_volume_takes_the_never_formatted_mark_with_it(
    backend: LocalBackend, store: ObservedStore
) -> None:
    """It may have made a file system."""
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    assert made.blank
    backend.disconnect(made)
    assert not again(store, volume).blank
    assert not backend.connect(again(store, volume), makers.attachment(volume, "node-2")).blank


def test_an_attachment_that_no_node_was_told_of_gives_the_mark_back(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, makers.attachment(volume))
    backend.disconnect(store.replace(replace(made, status=Status.CREATING, owner="dead")))
    assert again(store, volume).blank


def test_a_raw_attachment_that_may_write_is_noted_on_the_volume(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    backend.disconnect(backend.connect(volume, replace(makers.attachment(volume), block=True, read_only=True)))
    assert not again(store, volume).raw
    backend.disconnect(backend.connect(again(store, volume), replace(makers.attachment(volume), block=True)))
    assert (again(store, volume).raw, again(store, volume).blank) == (True, False)


def test_a_raw_attachment_that_no_node_was_told_of_leaves_no_note(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    made = backend.connect(volume, replace(makers.attachment(volume), block=True))
    backend.disconnect(store.replace(replace(made, status=Status.CREATING, owner="dead")))
    assert (again(store, volume).raw, again(store, volume).blank) == (False, True)


def test_a_read_only_attachment_leaves_the_mark_for_one_that_may_format(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume(multiattach=True))
    assert not backend.connect(volume, makers.attachment(volume, "reader", read_only=True)).blank
    assert backend.connect(again(store, volume), makers.attachment(volume, "writer")).blank


def test_after_an_unfinished_disconnection_the_device_is_not_new_any_more(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(nothing_fail=["terminate_connection:1"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.disconnect(backend.connect(volume, makers.attachment(volume)))
    assert not backend.connect(again(store, volume), makers.attachment(volume)).blank


def test_a_node_that_cannot_reach_the_back_end_is_told_so_and_leaves_nothing(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume = backend.create_volume(makers.volume())
    with pytest.raises(InvalidRequest, match="cannot reach back end 'fake'"):
        backend.validate_connector({"host": ""})
    with pytest.raises(InvalidRequest):
        backend.connect(volume, makers.attachment(volume, connector={"host": ""}))
    assert store.page(Attachment).records == ()
    assert again(store, volume).blank


def test_no_connection_to_a_volume_that_is_being_deleted(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    marked = store.replace(replace(volume, blank=False))
    store.before["add"] = lambda _record: store.replace(replace(again(store, volume), status=Status.DELETING))
    with pytest.raises(PreconditionFailed):
        backend.connect(marked, makers.attachment(volume))
    assert store.page(Attachment).records == ()
    assert driver(backend).mapped == set()


def test_a_connection_that_met_a_deletion_gives_the_never_formatted_mark_back(
    backend: LocalBackend, store: ObservedStore
) -> None:
    """The deletion may be refused, because of this very attachment."""
    volume = backend.create_volume(makers.volume())
    store.before["add"] = lambda _record: store.replace(replace(again(store, volume), status=Status.DELETING))
    with pytest.raises(PreconditionFailed, match="is deleting"):
        backend.connect(volume, makers.attachment(volume))
    assert store.page(Attachment).records == ()
    assert again(store, volume).blank


def test_an_attached_volume_is_not_deleted(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    backend.connect(volume, makers.attachment(volume))
    with pytest.raises(InUse, match="attached to node-1"):
        backend.delete_volume(again(store, volume))
    assert again(store, volume).status is Status.AVAILABLE
