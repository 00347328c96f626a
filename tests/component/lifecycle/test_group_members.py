"""Some arrays delete the volumes in a group with the group: no group is deleted before its volumes have left it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, BackendUnavailable, StaleRecord, Unsupported
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import failing, observe

GROUPS = "tests.support.fakes.nothing.GroupDriver"


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver=GROUPS)


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


@pytest.fixture
def volumes(backend: LocalBackend) -> list[Volume]:
    return [backend.create_volume(makers.volume()) for _ in range(2)]


@pytest.fixture
def members(volumes: list[Volume]) -> list[Snapshot]:
    return [makers.snapshot(volume) for volume in volumes]


def record() -> GroupSnapshot:
    return GroupSnapshot(id=makers.new_id(), name="together", backend="fake")


class Doors:
    """The way into and out of groups of a driver, which tests can block."""

    def __init__(self, driver: Any) -> None:
        self._update_group = driver.update_group
        self.most_in = self.most_out = 2
        self.strict = False
        driver.update_group = self.update_group
        self._groups = driver.groups

    def update_group(self, context: Any, group: Any, add_volumes: Any, remove_volumes: Any) -> Any:
        if self.strict and not {one.id for one in remove_volumes} <= self._groups[group.id]:
            raise RuntimeError("a volume is not in the group")
        added, removed = add_volumes[: self.most_in], remove_volumes[: self.most_out]
        self._update_group(context, group, added, removed)
        if (added, removed) != (add_volumes, remove_volumes):
            raise RuntimeError("the array is stuck")
        return None, None, None


@pytest.fixture
def doors(driver: Any) -> Doors:
    return Doors(driver)


def have(driver: Any, volumes: list[Volume]) -> bool:
    return set(driver.volumes) == {volume.id for volume in volumes}


def test_a_group_whose_volumes_cannot_be_taken_out_is_not_deleted(
    driver: Any,
    doors: Doors,
    backend: LocalBackend,
    volumes: list[Volume],
    members: list[Snapshot],
    store: ObservedStore,
) -> None:
    doors.most_out = 0
    with pytest.raises(BackendError, match="stuck"):
        backend.create_group_snapshot(record(), members)
    (left,) = store.page(GroupSnapshot).records
    assert left.status is Status.ERROR
    assert driver.calls["delete_group"] == 0
    for _ in range(2):
        with pytest.raises(BackendError, match="stuck"):
            backend.delete_group_snapshot(store.get(GroupSnapshot, left.id))
    assert have(driver, volumes)
    doors.most_out, doors.strict = 2, True
    backend.delete_group_snapshot(store.get(GroupSnapshot, left.id))
    assert have(driver, volumes)
    assert (driver.groups, store.page(Group).records, store.page(GroupSnapshot).records) == ({}, (), ())


def test_volumes_that_cannot_leave_a_group_together_leave_it_one_by_one(
    driver: Any, doors: Doors, backend: LocalBackend, members: list[Snapshot], store: ObservedStore
) -> None:
    doors.most_out, doors.strict = 1, True
    made = backend.create_group_snapshot(record(), members)
    assert driver.groups == {made.group_id: set()}
    assert store.get(Group, made.group_id).volume_ids == ()


@pytest.mark.parametrize("taken_in", [0, 1])
@pytest.mark.parametrize("strict", [False, True])
def test_volumes_of_which_only_some_came_into_a_group_leave_it_before_it_is_deleted(
    driver: Any,
    doors: Doors,
    backend: LocalBackend,
    volumes: list[Volume],
    members: list[Snapshot],
    store: ObservedStore,
    taken_in: int,
    strict: bool,
) -> None:
    doors.most_in, doors.strict = taken_in, strict
    with pytest.raises(BackendError, match="stuck"):
        backend.create_group_snapshot(record(), members)
    doors.most_in = 2
    for left in store.page(GroupSnapshot).records:
        backend.delete_group_snapshot(left)
    assert have(driver, volumes)
    assert (driver.groups, store.page(Group).records, store.page(Snapshot).records) == ({}, (), ())


def test_volumes_leave_a_group_whose_snapshot_fails_for_a_taken_name(
    driver: Any,
    doors: Doors,
    backend: LocalBackend,
    volumes: list[Volume],
    members: list[Snapshot],
    store: ObservedStore,
) -> None:
    """The words of an error say so. What is there under that name is left alone, and the volumes are not to stay in the group."""
    doors.most_in = 1

    def update_group(*arguments: Any, **named: Any) -> Any:
        try:
            return Doors.update_group(doors, *arguments, **named)
        except RuntimeError as error:
            raise RuntimeError("the volume already exists in the group") from error

    driver.update_group = update_group
    with pytest.raises(Exception, match="already exists"):
        backend.create_group_snapshot(record(), members)
    doors.most_in = 2
    (left,) = store.page(GroupSnapshot).records
    backend.delete_group_snapshot(left)
    assert list(driver.groups.values()) == [set()]
    assert have(driver, volumes)


def test_a_volume_that_is_in_another_group_meanwhile_keeps_its_label(
    driver: Any,
    doors: Doors,
    backend: LocalBackend,
    volumes: list[Volume],
    members: list[Snapshot],
    store: ObservedStore,
) -> None:
    """One group snapshot may be deleted while another one of the same volumes is taken."""
    doors.most_out = 0
    with pytest.raises(BackendError):
        backend.create_group_snapshot(record(), members)
    doors.most_out = 2
    store.replace(replace(store.get(Volume, volumes[0].id), group_id="another"))
    (left,) = store.page(GroupSnapshot).records
    backend.delete_group_snapshot(left)
    assert [store.get(Volume, volume.id).group_id for volume in volumes] == ["another", ""]


def test_a_driver_that_moves_no_volumes_leaves_nothing_of_a_group(
    driver: Any, backend: LocalBackend, volumes: list[Volume], members: list[Snapshot], store: ObservedStore
) -> None:
    failing(driver, "update_group", NotImplementedError())
    with pytest.raises(Unsupported):
        backend.create_group_snapshot(record(), members)
    assert have(driver, volumes)
    assert (driver.groups, store.page(Group).records, store.page(GroupSnapshot).records) == ({}, (), ())


def test_a_record_of_an_older_version_says_by_its_volumes_who_is_in_the_group(
    driver: Any, backend: LocalBackend, volumes: list[Volume], members: list[Snapshot], store: ObservedStore
) -> None:
    made = backend.create_group_snapshot(record(), members)
    driver.groups[made.group_id] = {volume.id for volume in volumes}
    for volume in volumes:
        store.replace(replace(store.get(Volume, volume.id), group_id=made.group_id))
    backend.delete_group_snapshot(made)
    assert have(driver, volumes)
    assert driver.groups == {}


def test_a_group_snapshot_that_is_taken_late_is_deleted_when_nobody_wants_it(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    original = driver.create_group_snapshot
    failing(driver, "create_group_snapshot", TimeoutError("no response within 60 seconds"))
    with pytest.raises(BackendUnavailable, match="no response"):
        backend.create_group_snapshot(record(), members)
    driver.create_group_snapshot = original
    (left,) = store.page(GroupSnapshot).records
    assert left.status is Status.ERROR
    asked = observe(driver, "delete_group_snapshot", lambda _context, made, _members: made.id)
    backend.delete_group_snapshot(left)
    assert asked == [left.id]
    assert (store.page(GroupSnapshot).records, store.page(Group).records, store.page(Snapshot).records) == ((), (), ())


def test_a_driver_sees_volumes_as_their_last_move_has_left_them(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    original, seen = driver.update_group, []

    def update_group(context: Any, group: Any, add_volumes: Any, remove_volumes: Any) -> Any:
        original(context, group, add_volumes, remove_volumes)
        seen.append({volume.provider_location for volume in (*add_volumes, *remove_volumes)})
        where = "in the group" if add_volumes else "outside"
        moved = [{"id": volume.id, "provider_location": where} for volume in (*add_volumes, *remove_volumes)]
        return {"status": "available"}, moved, []

    driver.update_group = update_group
    failing(driver, "create_group_snapshot", BackendUnavailable("fake", "away"))
    with pytest.raises(BackendUnavailable):
        backend.create_group_snapshot(wanted := record(), members)
    assert seen[1:] == [{"in the group"}]
    del driver.create_group_snapshot
    left = store.get(GroupSnapshot, wanted.id)
    assert backend.resume_create_group_snapshot(left).status is Status.AVAILABLE
    assert seen[2:] == [{"outside"}, {"in the group"}]


def test_a_group_snapshot_one_of_whose_members_was_removed_meanwhile_is_not_whole(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    def remove_one(*_: object) -> None:
        store.remove(store.get(Snapshot, members[0].id))

    original = driver.create_group_snapshot

    def take(*arguments: Any) -> Any:
        said = original(*arguments)
        remove_one()
        return said

    driver.create_group_snapshot = take
    with pytest.raises(StaleRecord):
        backend.create_group_snapshot(record(), members)
    assert store.page(Snapshot).records == ()
    assert store.page(Group).records == ()
    assert store.page(GroupSnapshot).records == ()
    assert (driver.taken, driver.snapshots) == ({}, {})
