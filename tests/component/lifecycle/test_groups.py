"""Snapshots of several volumes at one point in time."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, NotFound, Unsupported
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import cinders

GROUPS = "tests.support.fakes.nothing.GroupDriver"


def record() -> GroupSnapshot:
    return GroupSnapshot(id=makers.new_id(), name="together", backend="fake")


def left_over(store: ObservedStore) -> int:
    pages = store.page(GroupSnapshot).records, store.page(Snapshot).records, store.page(Group).records
    return sum(len(page) for page in pages)


def two_volumes(backend: LocalBackend) -> list[Volume]:
    return [backend.create_volume(makers.volume()) for _ in range(2)]


def members(volumes: list[Volume]) -> list[Snapshot]:
    return [makers.snapshot(one) for one in volumes]


def test_several_volumes_are_snapshotted_together_and_belong_to_no_group_afterwards(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend: Any = make(driver=GROUPS)
    volumes = two_volumes(backend)
    made = backend.create_group_snapshot(record(), members(volumes))
    assert (made.status, made.volume_ids) == (Status.AVAILABLE, tuple(one.id for one in volumes))
    taken = store.page(Snapshot, where={"group_snapshot_id": made.id}).records
    assert {one.id for one in taken} == set(made.snapshot_ids)
    assert all(one.status is Status.AVAILABLE and one.provider.id for one in taken)
    assert [store.get(Volume, one.id).group_id for one in volumes] == ["", ""]
    assert backend.driver.groups == {made.group_id: set()}


def test_a_volume_can_be_in_two_group_snapshots_and_be_restored_from_either(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver=GROUPS)
    volumes = two_volumes(backend)
    for _ in range(2):
        made = backend.create_group_snapshot(record(), members([store.get(Volume, one.id) for one in volumes]))
        taken = store.get(Snapshot, made.snapshot_ids[0])
        assert backend.create_volume(makers.volume(source=taken)).status is Status.AVAILABLE


def test_deleting_a_group_snapshot_leaves_nothing_and_may_be_repeated(make: MakeBackend, store: ObservedStore) -> None:
    backend: Any = make(driver=GROUPS)
    made = backend.create_group_snapshot(record(), members(two_volumes(backend)))
    backend.delete_group_snapshot(made)
    backend.delete_group_snapshot(made)
    assert (backend.driver.snapshots, backend.driver.groups, backend.driver.taken) == ({}, {}, {})
    assert left_over(store) == 0


def test_one_whose_members_have_ids_that_are_no_text_leaves_nothing(make: MakeBackend, store: ObservedStore) -> None:
    backend: Any = make(driver=GROUPS)
    volumes = two_volumes(backend)
    take = backend.driver.create_group_snapshot

    def answer(*arguments: Any) -> Any:
        update, updates = take(*arguments)
        return update, [{**one, "provider_id": {"lun": 7}} for one in updates]

    backend.driver.create_group_snapshot = answer
    with pytest.raises(BackendError, match="returned a dict for provider_id"):
        backend.create_group_snapshot(record(), members(volumes))
    assert (backend.driver.snapshots, backend.driver.groups, backend.driver.taken) == ({}, {}, {})
    assert left_over(store) == 0


def test_one_that_fails_leaves_nothing(make: MakeBackend, store: ObservedStore) -> None:
    backend: Any = make(driver=GROUPS, nothing_fail=["create_group_snapshot"])
    volumes = two_volumes(backend)
    with pytest.raises(BackendError, match="the array says no"):
        backend.create_group_snapshot(record(), members(volumes))
    assert left_over(store) == 0
    assert [store.get(Volume, one.id).group_id for one in volumes] == ["", ""]
    assert backend.driver.groups == {}


@pytest.mark.parametrize("fail", [[], ["create_group_snapshot"]])
def test_volumes_leave_the_group_before_anything_deletes_it(make: MakeBackend, fail: list[str]) -> None:
    """Arrays refuse to delete a group that has volumes, or delete the volumes with it."""
    backend: Any = make(driver=GROUPS, nothing_fail=fail)
    members_at_deletion = []
    delete_group = backend.driver.delete_group

    def observed(context: Any, group: Any, volumes: Any) -> Any:
        members_at_deletion.append(set(backend.driver.groups[group.id]))
        return delete_group(context, group, volumes)

    backend.driver.delete_group = observed
    with pytest.raises(BackendError, match="the array says no") if fail else nullcontext():
        backend.delete_group_snapshot(backend.create_group_snapshot(record(), members(two_volumes(backend))))
    assert members_at_deletion == [set()]


def test_an_interrupted_one_is_taken_anew(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=GROUPS)
    volumes = two_volumes(backend)
    taken = members(volumes)
    left = store.add(
        replace(
            record(),
            group_id=makers.new_id(),
            snapshot_ids=tuple(one.id for one in taken),
            volume_ids=tuple(one.id for one in volumes),
        )
    )
    for one in taken:
        store.add(replace(one, group_snapshot_id=left.id))
    assert backend.resume_create_group_snapshot(left).status is Status.AVAILABLE


def test_one_that_died_before_its_members_were_known_is_forgotten(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=GROUPS)
    left = store.add(replace(record(), snapshot_ids=("one", "two"), volume_ids=("a", "b")))
    with pytest.raises(NotFound):
        backend.resume_create_group_snapshot(left)
    assert store.page(GroupSnapshot).records == ()


def test_a_failed_deletion_is_repeated(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=GROUPS, nothing_fail=["delete_group_snapshot:1"])
    made = backend.create_group_snapshot(record(), members(two_volumes(backend)))
    with pytest.raises(BackendError):
        backend.delete_group_snapshot(made)
    left = store.get(GroupSnapshot, made.id)
    assert left.status is Status.DELETING
    backend.delete_group_snapshot(left)
    assert store.page(Snapshot).records == ()


def test_a_volume_that_is_not_available_is_not_snapshotted(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=GROUPS)
    volume = store.replace(replace(backend.create_volume(makers.volume()), status=Status.DELETING))
    with pytest.raises(NotFound):
        backend.create_group_snapshot(record(), members([volume]))
    assert store.page(GroupSnapshot).records == ()


def test_a_back_end_that_cannot_promise_one_point_in_time_says_so(backend: LocalBackend) -> None:
    with pytest.raises(Unsupported, match="does not support consistent group snapshots"):
        backend.create_group_snapshot(record(), members(two_volumes(backend)))


class StrictArray:
    """Its driver deletes one member after the other, and ends at the first one that is not there."""

    def __init__(self, there: set[str]) -> None:
        self.there = there

    def delete_group_snapshot(self, _context: object, _group_snapshot: object, snapshots: Any) -> Any:
        for snapshot in snapshots:
            if snapshot.id not in self.there:
                raise cinders("SnapshotNotFound", snapshot_id=snapshot.id)
            self.there.remove(snapshot.id)
        return {"status": "deleted"}, []


@pytest.mark.parametrize("gone", [{0}, {1}, {0, 1}])
def test_a_deletion_that_died_goes_on_past_members_that_are_gone(
    make: MakeBackend, store: ObservedStore, gone: set[int]
) -> None:
    backend: Any = make(driver=GROUPS)
    made = backend.create_group_snapshot(record(), members(two_volumes(backend)))
    array = StrictArray({id for number, id in enumerate(made.snapshot_ids) if number not in gone})
    backend.driver.delete_group_snapshot = array.delete_group_snapshot
    backend.delete_group_snapshot(store.replace(replace(made, status=Status.DELETING, owner="me")))
    assert (array.there, left_over(store)) == (set(), 0)
    assert list(leftovers.walk(store)) == []


@pytest.mark.parametrize("first", ["there", "missed"])
def test_a_member_that_is_missed_at_the_first_deletion_is_told_to_operators(
    make: MakeBackend, store: ObservedStore, first: str
) -> None:
    backend: Any = make(driver=GROUPS)
    made = backend.create_group_snapshot(record(), members(two_volumes(backend)))
    there, missed = made.snapshot_ids if first == "there" else reversed(made.snapshot_ids)
    backend.driver.delete_group_snapshot = StrictArray({there}).delete_group_snapshot
    backend.delete_group_snapshot(made)
    ((_, noted),) = leftovers.walk(store)
    assert noted is not None
    assert (noted.kind, noted.id) == ("snapshot", missed)
    assert "did not find it" in noted.reason
