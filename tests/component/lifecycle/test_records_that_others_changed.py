"""While the driver worked, another process took this one for dead: nothing is left that no record tells of, and nothing is
undone that the other one carries on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, StaleRecord
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Group, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

GROUPS = "tests.support.fakes.nothing.GroupDriver"

Action = Callable[[ObservedStore, Any], object]


def is_deleted(store: ObservedStore, record: Any) -> None:
    store.remove(store.get(type(record), record.id))


def is_being_deleted(store: ObservedStore, record: Any) -> None:
    store.replace(replace(store.get(type(record), record.id), status=Status.DELETING, owner="other"))


def is_made_by_another(store: ObservedStore, record: Any) -> None:
    store.replace(replace(store.get(type(record), record.id), owner="other"))


def is_ready(store: ObservedStore, record: Any) -> None:
    store.replace(replace(store.get(type(record), record.id), status=Status.AVAILABLE, owner=""))


gone = pytest.mark.parametrize("happens", [is_deleted, is_being_deleted])
carried_on = pytest.mark.parametrize("happens", [is_made_by_another, is_ready])


def driver(backend: LocalBackend) -> Any:
    return backend.driver


def afterwards(backend: LocalBackend, method: str, action: Callable[[], object]) -> None:
    """Let something happen when the driver has done what it was asked for, or has failed."""
    original = getattr(driver(backend), method)

    def called(*arguments: Any, **named: Any) -> Any:
        try:
            return original(*arguments, **named)
        finally:
            action()

    setattr(driver(backend), method, called)


@gone
def test_a_volume_whose_record_is_gone_is_not_left_on_the_array(
    backend: LocalBackend, store: ObservedStore, happens: Action
) -> None:
    volume = makers.volume()
    afterwards(backend, "create_volume", lambda: happens(store, volume))
    with pytest.raises(StaleRecord):
        backend.create_volume(volume)
    assert driver(backend).volumes == {}
    assert store.page(Volume).records == ()


def test_the_driver_is_told_where_the_volume_lies_that_it_shall_delete(
    backend: LocalBackend, store: ObservedStore
) -> None:
    volume, seen = makers.volume(), []
    afterwards(backend, "create_volume", lambda: is_deleted(store, volume))
    driver(backend).delete_volume = lambda doomed: seen.append(doomed.provider_location)
    with pytest.raises(StaleRecord):
        backend.create_volume(volume)
    assert seen == [f"nowhere/volume-{volume.id}"]


def test_what_cannot_be_deleted_then_gets_a_record_again(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["delete_volume:1"])
    volume = makers.volume()
    afterwards(backend, "create_volume", lambda: is_deleted(store, volume))
    with pytest.raises(StaleRecord):
        backend.create_volume(volume)
    (left,) = store.page(Volume).records
    assert left.status is Status.ERROR
    assert "clean-up failed as well: back end 'fake': the array says no" in left.message
    backend.delete_volume(left)
    assert driver(backend).volumes == {}


@carried_on
@pytest.mark.parametrize("fail", [[], ["create_volume"]])
def test_a_volume_that_another_process_carries_on_with_is_left_to_it(
    make: MakeBackend, store: ObservedStore, happens: Action, fail: list[str]
) -> None:
    backend = make(nothing_fail=fail)
    volume = makers.volume()
    afterwards(backend, "create_volume", lambda: happens(store, volume))
    with pytest.raises(BackendError if fail else StaleRecord):
        backend.create_volume(volume)
    assert driver(backend).calls["delete_volume"] == 0
    assert [one.id for one in store.page(Volume).records] == [volume.id]


@pytest.mark.parametrize("happens", [is_being_deleted, is_made_by_another, is_ready])
def test_a_growth_does_not_finish_what_another_process_has_taken_over(
    backend: LocalBackend, store: ObservedStore, happens: Action
) -> None:
    volume = backend.create_volume(makers.volume())
    left = []

    def another_takes_over() -> None:
        happens(store, volume)
        left.append(store.get(Volume, volume.id))

    afterwards(backend, "extend_volume", another_takes_over)
    with pytest.raises(StaleRecord):
        backend.extend_volume(volume, GiB(2))
    assert [store.get(Volume, volume.id)] == left


@gone
def test_a_snapshot_whose_record_is_gone_is_not_left_on_the_array(
    backend: LocalBackend, store: ObservedStore, happens: Action
) -> None:
    snapshot = makers.snapshot(backend.create_volume(makers.volume()))
    afterwards(backend, "create_snapshot", lambda: happens(store, snapshot))
    with pytest.raises(StaleRecord):
        backend.create_snapshot(snapshot)
    assert driver(backend).snapshots == {}
    assert store.page(Snapshot).records == ()


def test_the_driver_is_told_where_the_snapshot_lies_that_it_shall_delete(
    backend: LocalBackend, store: ObservedStore
) -> None:
    snapshot = makers.snapshot(backend.create_volume(makers.volume()))
    afterwards(backend, "create_snapshot", lambda: is_deleted(store, snapshot))
    seen = observe(driver(backend), "delete_snapshot", lambda doomed: doomed.provider_location)
    with pytest.raises(StaleRecord):
        backend.create_snapshot(snapshot)
    assert seen == [f"nowhere/snapshot-{snapshot.id}"]


@carried_on
def test_a_snapshot_that_another_process_carries_on_with_is_left_to_it(
    backend: LocalBackend, store: ObservedStore, happens: Action
) -> None:
    snapshot = makers.snapshot(backend.create_volume(makers.volume()))
    afterwards(backend, "create_snapshot", lambda: happens(store, snapshot))
    with pytest.raises(StaleRecord):
        backend.create_snapshot(snapshot)
    assert set(driver(backend).snapshots) == {snapshot.id}


GROUP_KINDS: tuple[Any, ...] = (Snapshot, Group, GroupSnapshot)


def all_deleted(store: ObservedStore, record: GroupSnapshot) -> None:
    for kind in GROUP_KINDS:
        for one in store.page(kind).records:
            store.remove(one)


@pytest.mark.parametrize("happens", [all_deleted, is_being_deleted])
def test_a_group_snapshot_whose_record_is_gone_is_not_left_on_the_array(
    make: MakeBackend, store: ObservedStore, happens: Action
) -> None:
    backend = make(driver=GROUPS)
    members = [makers.snapshot(backend.create_volume(makers.volume())) for _ in range(2)]
    record = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    afterwards(backend, "create_group_snapshot", lambda: happens(store, record))
    with pytest.raises(StaleRecord):
        backend.create_group_snapshot(record, members)
    assert (driver(backend).taken, driver(backend).snapshots, driver(backend).groups) == ({}, {}, {})
    for kind in GROUP_KINDS:
        assert store.page(kind).records == ()


def test_the_driver_is_told_where_the_group_snapshot_lies_that_it_shall_delete(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver=GROUPS)
    members = [makers.snapshot(backend.create_volume(makers.volume())) for _ in range(2)]
    record = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    take = driver(backend).create_group_snapshot

    def described(*arguments: Any) -> Any:
        update, updates = take(*arguments)
        all_deleted(store, record)
        return {**update, "description": "consistency group 7"}, updates

    driver(backend).create_group_snapshot = described
    seen = observe(
        driver(backend),
        "delete_group_snapshot",
        lambda _context, doomed, taken: (doomed.description, sorted(member.provider_id for member in taken)),
    )
    with pytest.raises(StaleRecord):
        backend.create_group_snapshot(record, members)
    assert seen == [("consistency group 7", sorted(f"{record.id}/{member.volume_id}" for member in members))]


def test_a_group_snapshot_whose_volumes_are_gone_as_well_leaves_no_record(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver=GROUPS)
    volume = backend.create_volume(makers.volume())
    record = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")

    def everything_goes() -> None:
        all_deleted(store, record)
        is_deleted(store, volume)

    afterwards(backend, "create_group_snapshot", everything_goes)
    with pytest.raises(StaleRecord):
        backend.create_group_snapshot(record, [makers.snapshot(volume)])
    for kind in (Volume, *GROUP_KINDS):
        assert store.page(kind).records == ()


@carried_on
def test_a_group_snapshot_that_another_process_carries_on_with_is_left_to_it(
    make: MakeBackend, store: ObservedStore, happens: Action
) -> None:
    backend = make(driver=GROUPS)
    record = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    afterwards(backend, "create_group_snapshot", lambda: happens(store, record))
    with pytest.raises(StaleRecord):
        backend.create_group_snapshot(record, [makers.snapshot(backend.create_volume(makers.volume()))])
    assert set(driver(backend).taken) == {record.id}


@gone
def test_a_node_is_not_let_in_by_a_connection_that_was_taken_away_meanwhile(
    backend: LocalBackend, store: ObservedStore, happens: Action
) -> None:
    volume = backend.create_volume(makers.volume())
    attachment = makers.attachment(volume)
    afterwards(backend, "initialize_connection", lambda: happens(store, attachment))
    with pytest.raises(StaleRecord):
        backend.connect(volume, attachment)
    assert (driver(backend).mapped, driver(backend).exports) == (set(), set())
    assert store.page(Attachment).records == ()


@carried_on
def test_a_connection_that_another_process_carries_on_with_is_left_to_it(
    backend: LocalBackend, store: ObservedStore, happens: Action
) -> None:
    volume = backend.create_volume(makers.volume())
    attachment = makers.attachment(volume)
    afterwards(backend, "initialize_connection", lambda: happens(store, attachment))
    with pytest.raises(StaleRecord):
        backend.connect(volume, attachment)
    assert driver(backend).mapped == {(volume.id, "node-1")}


def test_of_two_processes_that_connect_at_once_both_do_and_one_may_format(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend, other = make(), make("other", owner="other")
    volume = backend.create_volume(makers.volume())
    first: list[Attachment] = []
    store.before["replace"] = lambda _: first.append(other.connect(volume, makers.attachment(volume, "node-1")))
    second = backend.connect(volume, makers.attachment(volume, "node-2"))
    assert (first[0].blank, second.blank) == (True, False)
    assert second.status is Status.AVAILABLE
    assert not store.get(Volume, volume.id).blank


@pytest.mark.parametrize("fail", [[], ["initialize_connection:1"]])
def test_a_late_end_does_not_call_a_volume_new_that_another_node_has_formatted_since(
    make: MakeBackend, store: ObservedStore, fail: list[str]
) -> None:
    backend, other = make(nothing_fail=fail), make("other", owner="other")
    volume = backend.create_volume(makers.volume())
    attachment = makers.attachment(volume)

    def another_process_gives_it_to_another_node() -> None:
        driver(backend).initialize_connection = original
        other.disconnect(store.get(Attachment, attachment.id))
        assert other.connect(store.get(Volume, volume.id), makers.attachment(volume, "node-2")).blank

    original = driver(backend).initialize_connection
    afterwards(backend, "initialize_connection", another_process_gives_it_to_another_node)
    with pytest.raises(BackendError if fail else StaleRecord):
        backend.connect(volume, attachment)
    assert not store.get(Volume, volume.id).blank


@gone
def test_what_was_created_in_place_of_a_taken_name_goes_with_its_record(
    make: MakeBackend, store: ObservedStore, happens: Action
) -> None:
    """The driver has answered, so the object is this call's own, and no longer the one that had the name."""
    backend = make(driver=GROUPS)
    volume = backend.create_volume(makers.volume())
    wanted = store.add(replace(makers.volume(), host=volume.host, status=Status.ERROR, name_taken="it exists"))
    afterwards(backend, "create_volume", lambda: happens(store, wanted))
    with pytest.raises(StaleRecord):
        backend.resume_create_volume(wanted)
    snapshot = store.add(replace(makers.snapshot(volume), status=Status.ERROR, name_taken="it exists"))
    afterwards(backend, "create_snapshot", lambda: happens(store, snapshot))
    with pytest.raises(StaleRecord):
        backend.resume_create_snapshot(snapshot)
    group = backend.create_group_snapshot(
        GroupSnapshot(id=makers.new_id(), name="together", backend="fake"), [makers.snapshot(volume)]
    )
    driver(backend).delete_group_snapshot(None, group, [])
    left = store.replace(replace(group, status=Status.ERROR, name_taken="it exists"))
    afterwards(backend, "create_group_snapshot", lambda: happens(store, group))
    with pytest.raises(StaleRecord):
        backend.resume_create_group_snapshot(left)
    assert set(driver(backend).volumes) == {volume.id}
    assert (driver(backend).snapshots, driver(backend).taken) == ({}, {})
    assert store.page(Volume).records == (store.get(Volume, volume.id),)
    assert store.page(Snapshot).records == ()
    assert store.page(GroupSnapshot).records == ()
