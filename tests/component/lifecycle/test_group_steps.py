"""Group snapshots step by step: what is written down, what drivers answer, and what is left when a step fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import AlreadyExists, BackendError, BackendUnavailable, DriverError, InUse, PreconditionFailed
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore, touch
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, cinders, failing, observe

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


def stored(store: ObservedStore) -> tuple[list[Any], list[Any], list[Any]]:
    return tuple(list(store.page(kind).records) for kind in (GroupSnapshot, Snapshot, Group))  # type: ignore[type-var,return-value]  # three kinds


def groups_of(store: ObservedStore, volumes: list[Volume]) -> list[str]:
    return [store.get(Volume, volume.id).group_id for volume in volumes]


def answering(driver: Any, method: str, change: Callable[[Any], Any]) -> None:
    original = getattr(driver, method)
    setattr(driver, method, lambda *arguments, **named: change(original(*arguments, **named)))


def test_everything_is_written_down_before_the_driver_is_asked(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    wanted = record()
    (seen,) = [observe(driver, "create_group", lambda *_: stored(store))]
    backend.create_group_snapshot(wanted, members)
    ((left,), taken, (group,)) = seen[0]
    assert (left.status, left.owner, left.group_id) == (Status.CREATING, "me", wanted.id)
    assert left.created_at
    assert left.snapshot_ids == tuple(member.id for member in members)
    assert left.volume_ids == tuple(member.volume_id for member in members)
    for member in taken:
        assert (member.status, member.owner, member.group_snapshot_id) == (Status.CREATING, "me", wanted.id)
        assert member.created_at == left.created_at
    host = store.get(Volume, members[0].volume_id).host
    assert (group.id, group.name, group.host, group.status) == (wanted.id, "together", host, Status.AVAILABLE)
    assert (group.backend, group.consistent, bool(group.created_at)) == ("fake", True, True)


def test_volumes_are_labelled_with_their_group_for_the_moment_of_the_snapshot(
    backend: LocalBackend, driver: Any, volumes: list[Volume], members: list[Snapshot], store: ObservedStore
) -> None:
    seen = observe(driver, "create_group_snapshot", lambda *_: groups_of(store, volumes))
    made = backend.create_group_snapshot(record(), members)
    assert seen == [[made.group_id] * 2]
    assert groups_of(store, volumes) == ["", ""]


def test_what_the_caller_gives_is_kept(backend: LocalBackend, members: list[Snapshot]) -> None:
    wanted = replace(record(), group_id=makers.new_id(), created_at="2020-01-01T00:00:00.000000Z")
    made = backend.create_group_snapshot(wanted, members)
    assert (made.group_id, made.created_at) == (wanted.group_id, wanted.created_at)


def test_what_the_driver_says_of_the_whole_and_of_each_member_is_kept(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    answering(driver, "create_group_snapshot", lambda said: ({**said[0], "id": "x", "vendor": "y"}, said[1]))
    made = backend.create_group_snapshot(record(), members)
    assert (made.status, made.owner, made.message, dict(made.fields)) == (Status.AVAILABLE, "", "", {"vendor": "y"})
    assert store.get(GroupSnapshot, made.id) == made
    for member in store.page(Snapshot).records:
        assert (member.status, member.owner, member.message) == (Status.AVAILABLE, "", "")
        assert member.provider.id == f"{made.id}/{member.volume_id}"


def test_a_finished_group_snapshot_and_its_members_have_no_message(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    def note(*_arguments: object) -> None:
        (whole,), parts, _groups = stored(store)
        for left in (whole, *parts):
            store.replace(replace(left, message="it takes long"))

    observe(driver, "create_group_snapshot", note)
    made = backend.create_group_snapshot(record(), members)
    assert [made.message, *(member.message for member in store.page(Snapshot).records)] == ["", "", ""]


def test_a_driver_that_says_nothing_has_succeeded(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    for method in ("create_group", "update_group", "delete_group"):
        answering(driver, method, lambda _said: None)
    for method in ("create_group_snapshot", "delete_group_snapshot"):
        answering(driver, method, lambda _said: (None, None))
    made = backend.create_group_snapshot(record(), members)
    assert made.status is Status.AVAILABLE
    backend.delete_group_snapshot(made)
    assert stored(store) == ([], [], [])


def test_what_a_driver_says_of_volumes_that_come_and_go_is_kept(
    backend: LocalBackend, driver: Any, volumes: list[Volume], members: list[Snapshot], store: ObservedStore
) -> None:
    original = driver.update_group

    def update_group(context: Any, group: Any, add_volumes: Any, remove_volumes: Any) -> Any:
        original(context, group, add_volumes, remove_volumes)
        added = [{"id": volume.id, "provider_location": "in the group"} for volume in add_volumes]
        removed = [{"id": volume.id, "provider_id": f"was {volume.id}"} for volume in remove_volumes]
        return {"status": "available"}, added, removed

    driver.update_group = update_group
    backend.create_group_snapshot(record(), members)
    for volume in volumes:
        provider = store.get(Volume, volume.id).provider
        assert (provider.location, provider.id) == ("in the group", f"was {volume.id}")


ERROR = {"status": "error"}


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("create_group", lambda said: ERROR),
        ("update_group", lambda said: (ERROR, None, None)),
        ("create_group_snapshot", lambda said: (ERROR, said[1])),
        ("create_group_snapshot", lambda said: (said[0], [said[1][0], {**said[1][1], "status": "error_creating"}])),
    ],
)
def test_a_failure_that_is_told_as_a_status_is_one(
    backend: LocalBackend,
    driver: Any,
    volumes: list[Volume],
    members: list[Snapshot],
    store: ObservedStore,
    method: str,
    answer: Callable[[Any], Any],
) -> None:
    answers = [answer]  # to the first call: the volumes can leave the group
    answering(driver, method, lambda said: answers.pop()(said) if answers else said)
    with pytest.raises(BackendError, match="back end 'fake': the driver reported status 'error"):
        backend.create_group_snapshot(record(), members)
    assert stored(store) == ([], [], [])
    assert groups_of(store, volumes) == ["", ""]
    assert (driver.taken, driver.snapshots, driver.groups) == ({}, {}, {})


def test_a_member_that_exists_already_leaves_nothing_of_the_group(
    backend: LocalBackend, members: list[Snapshot], store: ObservedStore
) -> None:
    there = store.add(members[1])
    with pytest.raises(AlreadyExists):
        backend.create_group_snapshot(record(), members)
    assert stored(store) == ([], [there], [])


def test_what_could_not_be_undone_has_a_record_that_says_so(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    failing(driver, "create_group_snapshot", RuntimeError("no space"))
    failing(driver, "delete_group", RuntimeError("stuck"))
    with pytest.raises(BackendError, match="no space"):
        backend.create_group_snapshot(record(), members)
    ((left,), taken, groups) = stored(store)
    assert left.status is Status.ERROR
    assert "no space" in left.message
    assert "clean-up failed as well" in left.message
    assert "stuck" in left.message
    assert (len(taken), len(groups)) == (2, 1)


def leave(store: ObservedStore, made: GroupSnapshot, status: Status) -> GroupSnapshot:
    return store.replace(replace(made, status=status, owner="dead"))


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR])
def test_what_may_be_there_is_deleted_before_it_is_taken_anew(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore, status: Status
) -> None:
    left = leave(store, backend.create_group_snapshot(record(), members), status)
    seen = observe(driver, "create_group_snapshot", lambda *_: (dict(driver.taken), stored(store)[0][0].owner))
    made = backend.resume_create_group_snapshot(left)
    assert seen == [({}, "me")]
    assert (made.id, made.status, made.snapshot_ids) == (left.id, Status.AVAILABLE, left.snapshot_ids)
    assert len(driver.taken[made.id]) == 2


def test_what_is_whole_is_not_taken_anew_and_what_is_being_deleted_neither(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    made = backend.create_group_snapshot(record(), members)
    assert backend.resume_create_group_snapshot(made) is made
    with pytest.raises(PreconditionFailed, match="is deleting; its creation cannot be resumed"):
        backend.resume_create_group_snapshot(leave(store, made, Status.DELETING))
    assert driver.calls["create_group_snapshot"] == 1


def test_a_clean_up_that_fails_does_not_keep_it_from_being_taken_unless_the_array_is_away(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    left = leave(store, backend.create_group_snapshot(record(), members), Status.CREATING)
    failing(driver, "delete_group_snapshot", cinders("VolumeDriverException", message="there is none"))
    assert backend.resume_create_group_snapshot(left).status is Status.AVAILABLE
    left = leave(store, store.get(GroupSnapshot, left.id), Status.CREATING)
    failing(driver, "delete_group_snapshot", AWAY)
    calls = driver.calls["create_group_snapshot"]
    with pytest.raises(BackendUnavailable):
        backend.resume_create_group_snapshot(left)
    assert driver.calls["create_group_snapshot"] == calls


def test_of_one_that_died_between_its_records_nothing_stays(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    left = leave(store, backend.create_group_snapshot(record(), members), Status.CREATING)
    store.remove(store.get(Snapshot, members[0].id))
    with pytest.raises(Exception, match="group snapshot"):
        backend.resume_create_group_snapshot(left)
    assert stored(store)[:2] == ([], [])
    assert driver.calls["delete_group_snapshot"] == 0


def test_a_deletion_takes_volumes_out_of_a_group_in_which_a_crash_left_them(
    backend: LocalBackend, driver: Any, volumes: list[Volume], members: list[Snapshot], store: ObservedStore
) -> None:
    made = backend.create_group_snapshot(record(), members)
    for volume in volumes:
        store.replace(replace(store.get(Volume, volume.id), group_id=made.group_id))
    backend.delete_group_snapshot(made)
    assert groups_of(store, volumes) == ["", ""]


@pytest.mark.parametrize(
    ("method", "error", "detail"),
    [
        ("delete_group_snapshot", "GroupSnapshotNotFound", "group_snapshot_id"),
        ("delete_group", "GroupNotFound", "group_id"),
    ],
)
def test_what_the_array_does_not_have_is_deleted(
    backend: LocalBackend,
    driver: Any,
    members: list[Snapshot],
    store: ObservedStore,
    method: str,
    error: str,
    detail: str,
) -> None:
    made = backend.create_group_snapshot(record(), members)
    missing = made.id if method == "delete_group_snapshot" else made.group_id
    failing(driver, method, cinders(error, **{detail: missing}))
    backend.delete_group_snapshot(made)
    assert stored(store) == ([], [], [])


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("delete_group_snapshot", lambda said: (ERROR, said[1])),
        ("delete_group_snapshot", lambda said: (said[0], [{**said[1][0], "status": "error_deleting"}])),
        ("delete_group", lambda said: (ERROR, [])),
    ],
)
def test_a_deletion_whose_failure_is_told_as_a_status_keeps_the_records(
    backend: LocalBackend,
    driver: Any,
    members: list[Snapshot],
    store: ObservedStore,
    method: str,
    answer: Callable[[Any], Any],
) -> None:
    made = backend.create_group_snapshot(record(), members)
    answering(driver, method, answer)
    with pytest.raises(BackendError, match="the driver reported status 'error"):
        backend.delete_group_snapshot(made)
    ((left,), taken, groups) = stored(store)
    assert (left.status, left.owner) == (Status.DELETING, "me")
    assert "the driver reported status" in left.message
    assert (len(taken), len(groups)) == (2, 1)


def test_one_that_the_driver_calls_in_use_is_not_whole_any_more(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    """Drivers delete one member after the other."""
    made = backend.create_group_snapshot(record(), members)
    failing(driver, "delete_group_snapshot", cinders("SnapshotIsBusy", snapshot_name="one"))
    with pytest.raises(InUse):
        backend.delete_group_snapshot(made)
    (left,) = stored(store)[0]
    assert (left.status, left.owner) == (Status.DELETING, "me")
    assert "its deletion has started and cannot be undone" in left.message


def test_a_stale_record_deletes_nothing(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    made = backend.create_group_snapshot(record(), members)
    touch(store, made)
    store.remove(store.get(GroupSnapshot, made.id))
    backend.delete_group_snapshot(made)
    assert driver.calls["delete_group_snapshot"] == 0


@pytest.mark.parametrize("method", ["create_group_snapshot", "delete_group_snapshot"])
def test_the_driver_sees_group_and_members_in_the_group_snapshot_and_may_load_more(
    backend: LocalBackend, driver: Any, members: list[Snapshot], method: str
) -> None:
    """Cinder's objects load what is missing by the context that they carry."""
    seen = observe(driver, method, lambda _context, given, _snapshots: given)
    made = backend.create_group_snapshot(record(), members)
    backend.delete_group_snapshot(made)
    (given,) = seen
    assert (given.id, given.group.id) == (made.id, made.group_id)
    assert sorted(snapshot.id for snapshot in given.snapshots) == sorted(made.snapshot_ids)
    in_the_group = made.volume_ids if method == "create_group_snapshot" else ()
    assert tuple(volume.id for volume in given.group.volumes) == in_the_group
    assert all(versioned._context.is_admin for versioned in (given, given.group, *given.snapshots))


@pytest.mark.parametrize(("status", "error"), makers.NOT_COPYABLE.items())
def test_a_volume_that_is_not_whole_is_in_no_group(
    backend: LocalBackend,
    driver: Any,
    volumes: list[Volume],
    members: list[Snapshot],
    store: ObservedStore,
    status: Status,
    error: type[DriverError],
) -> None:
    store.replace(replace(volumes[1], status=status))
    with pytest.raises(error, match=f"volume '{volumes[1].id}'"):
        backend.create_group_snapshot(record(), members)
    assert stored(store) == ([], [], [])
    assert driver.calls["create_group"] == 0


def test_an_unfinished_one_whose_deletion_is_refused_is_not_taken_for_whole(
    backend: LocalBackend, driver: Any, members: list[Snapshot], store: ObservedStore
) -> None:
    left = leave(store, backend.create_group_snapshot(record(), members), Status.CREATING)
    member = store.get(Snapshot, left.snapshot_ids[0])
    store.replace(replace(member, status=Status.CREATING))
    failing(driver, "delete_group_snapshot", cinders("SnapshotIsBusy", snapshot_name="one"))
    for _ in range(2):
        with pytest.raises(InUse):
            backend.delete_group_snapshot(store.get(GroupSnapshot, left.id))
        assert store.get(GroupSnapshot, left.id).status is Status.DELETING
