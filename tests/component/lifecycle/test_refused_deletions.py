"""What a deletion may have begun to take away is never handed out again, and what it has not touched is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, CorruptRecord, InUse, NotFound
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

GROUPS = "tests.support.fakes.nothing.GroupDriver"
KINDS = ["volume", "snapshot", "group snapshot"]
OTHER = "another process"


@pytest.fixture
def backend(make: MakeBackend) -> LocalBackend:
    return make(driver=GROUPS)


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


def made(backend: LocalBackend, kind: str, volumes: int = 2) -> Any:
    """A volume, a snapshot, or a group snapshot of so many volumes."""
    if kind == "group snapshot":
        sources = [backend.create_volume(makers.volume()) for _ in range(volumes)]
        record = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
        return backend.create_group_snapshot(record, [makers.snapshot(volume) for volume in sources])
    volume = backend.create_volume(makers.volume())
    return volume if kind == "volume" else backend.create_snapshot(makers.snapshot(volume))


def delete(backend: LocalBackend, record: Any) -> None:
    deletions: dict[type, Callable[[Any], None]] = {
        Volume: backend.delete_volume,
        Snapshot: backend.delete_snapshot,
        GroupSnapshot: backend.delete_group_snapshot,
    }
    deletions[type(record)](record)


def answer_deletions(backend: LocalBackend, record: Any, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """The driver's answers to the next deletions of it; later ones are carried out."""
    name = f"delete_{record.__class__.__name__.lower()}".replace("groupsnapshot", "group_snapshot")
    answers, original = list(errors), getattr(backend.driver, name)

    def answer(*arguments: Any) -> Any:
        if answers:
            raise answers.pop(0)
        return original(*arguments)

    monkeypatch.setattr(backend.driver, name, answer)


def busy() -> Exception:
    from cinder import exception

    return exception.SnapshotIsBusy(snapshot_name="a part of it")  # type: ignore[no-any-return]  # Cinder has no types


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_deletion_has_begun_on_is_not_given_back_when_the_next_attempt_is_refused(
    backend: LocalBackend, store: ObservedStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = made(backend, kind)
    answer_deletions(backend, record, monkeypatch, RuntimeError("lost the connection half-way"), busy())
    with pytest.raises(BackendError, match="half-way"):
        delete(backend, record)
    with pytest.raises(InUse, match="a part of it"):
        delete(backend, store.get(type(record), record.id))
    left = store.get(type(record), record.id)
    assert left.status is Status.DELETING
    assert "its deletion has started and cannot be undone" in left.message
    delete(backend, left)
    assert store.page(type(record)).records == ()


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_process_has_begun_to_delete_is_not_given_back(
    backend: LocalBackend, store: ObservedStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process was slow; its lease ended, and another one has taken the deletion over."""
    record = made(backend, kind, volumes=1)

    def refuse(*_arguments: Any) -> Any:
        current = store.get(type(record), record.id)
        store.replace(replace(current, owner=OTHER))
        raise busy()

    monkeypatch.setattr(backend.driver, _method(record), refuse)
    with pytest.raises(InUse):
        delete(backend, record)
    left = store.get(type(record), record.id)
    assert (left.status, left.owner) == (Status.DELETING, OTHER)


def _method(record: Any) -> str:
    return {Volume: "delete_volume", Snapshot: "delete_snapshot", GroupSnapshot: "delete_group_snapshot"}[type(record)]


def test_a_growth_that_fails_does_not_give_back_what_another_process_deletes(
    backend: LocalBackend, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = made(backend, "volume")

    def fail(*_arguments: Any) -> Any:
        store.replace(replace(store.get(Volume, volume.id), status=Status.DELETING, owner=OTHER))
        raise RuntimeError("lost the connection")

    monkeypatch.setattr(backend.driver, "extend_volume", fail)
    with pytest.raises(BackendError):
        backend.extend_volume(volume, GiB(2))
    left = store.get(Volume, volume.id)
    assert (left.status, left.owner) == (Status.DELETING, OTHER)


@pytest.mark.parametrize("dependent", ["snapshot", "attachment"])
def test_a_volume_whose_deletion_was_killed_before_it_reached_the_driver_is_given_back(
    backend: LocalBackend, store: ObservedStore, dependent: str
) -> None:
    """A dependent that came to an end proves that: none begins once a deletion has, and none is there when the driver is asked."""
    volume = made(backend, "volume")
    if dependent == "snapshot":
        backend.create_snapshot(makers.snapshot(volume))
    else:
        backend.connect(volume, makers.attachment(volume))
    current = store.get(Volume, volume.id)
    with pytest.raises(InUse):
        backend.delete_volume(store.replace(replace(current, status=Status.DELETING, owner="dead")))
    assert store.get(Volume, volume.id).status is Status.AVAILABLE


def test_a_snapshot_that_only_begins_does_not_give_its_volume_back(
    backend: LocalBackend, driver: Any, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = made(backend, "volume")
    answer_deletions(backend, volume, monkeypatch, RuntimeError("lost the connection half-way"))
    with pytest.raises(BackendError):
        backend.delete_volume(volume)
    begun = store.add(replace(makers.snapshot(volume), status=Status.CREATING, owner="dead"))
    with pytest.raises(InUse, match="has snapshots"):
        backend.delete_volume(store.get(Volume, volume.id))
    assert store.get(Volume, volume.id).status is Status.DELETING
    with pytest.raises(NotFound, match="is being deleted"):
        backend.resume_create_snapshot(begun)
    assert store.get(Snapshot, begun.id).status is Status.ERROR
    assert driver.snapshots == {}
    backend.delete_snapshot(store.get(Snapshot, begun.id))
    backend.delete_volume(store.get(Volume, volume.id))


@pytest.mark.parametrize("resumed", [False, True])
def test_a_group_snapshot_is_not_taken_of_a_volume_that_is_being_deleted(
    backend: LocalBackend, driver: Any, store: ObservedStore, resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process begins the deletion after the volume was looked at first."""
    record = made(backend, "group snapshot")
    volume = store.get(Volume, record.volume_ids[0])
    doomed = replace(volume, status=Status.DELETING, owner=OTHER)
    taken = driver.calls["create_group_snapshot"]
    if resumed:
        again = store.replace(replace(record, status=Status.CREATING))
        store.replace(doomed)
        with pytest.raises(NotFound, match="is being deleted"):
            backend.resume_create_group_snapshot(again)
    else:
        backend.delete_group_snapshot(record)
        doomed = replace(store.get(Volume, volume.id), status=Status.DELETING, owner=OTHER)
        store.before["add"] = lambda _record: store.replace(doomed)
        members = [makers.snapshot(store.get(Volume, id)) for id in record.volume_ids]
        with pytest.raises(NotFound, match="is being deleted"):
            backend.create_group_snapshot(replace(record, id=makers.new_id(), group_id="", revision=""), members)
        assert store.page(GroupSnapshot).records == ()
        assert store.page(Snapshot).records == ()
    assert driver.calls["create_group_snapshot"] == taken


def test_a_refused_deletion_of_a_group_leaves_the_group_snapshot_being_deleted(
    backend: LocalBackend, driver: Any, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its members are gone by then."""
    record = made(backend, "group snapshot")

    def refuse(*_arguments: Any) -> Any:
        raise busy()

    with monkeypatch.context() as patched:
        patched.setattr(backend.driver, "delete_group", refuse)
        with pytest.raises(InUse):
            backend.delete_group_snapshot(record)
    assert driver.snapshots == {}
    left = store.get(GroupSnapshot, record.id)
    assert left.status is Status.DELETING
    backend.delete_group_snapshot(left)
    assert store.page(GroupSnapshot).records == ()


@pytest.mark.parametrize("first", ["copy", "deletion"])
def test_a_member_is_not_deleted_with_its_group_under_a_copy(
    backend: LocalBackend, driver: Any, store: ObservedStore, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member's own record does not show that its group snapshot is being deleted."""
    record = made(backend, "group snapshot")
    member = store.get(Snapshot, record.snapshot_ids[0])
    copy = makers.volume(source=member)
    if first == "copy":
        store.add(replace(copy, status=Status.CREATING, owner=OTHER))
        with pytest.raises(InUse, match=f"source of volume '{copy.id}'"):
            backend.delete_group_snapshot(record)
        assert store.get(GroupSnapshot, record.id).status is Status.AVAILABLE
        assert set(driver.snapshots) == set(record.snapshot_ids)
    else:
        store.replace(replace(record, status=Status.DELETING, owner=OTHER))
        with pytest.raises(NotFound, match="is being deleted"):
            backend.create_volume(copy)
        assert copy.id not in {volume.id for volume in store.page(Volume).records}


def test_a_group_snapshot_stays_usable_when_a_creation_that_may_copy_a_member_cannot_be_read(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    record = made(backend, "group snapshot")
    source = makers.volume(source=store.get(Snapshot, record.snapshot_ids[0]))
    copy = store.add(replace(source, status=Status.CREATING, owner=OTHER))
    store._put_raw(Volume, copy.id, "2-x", f'{{"status": "creating", "backend": "{copy.backend}"}}')
    with pytest.raises(CorruptRecord, match=f"'{copy.id}'"):
        backend.delete_group_snapshot(record)
    assert store.get(GroupSnapshot, record.id).status is Status.AVAILABLE
    assert set(driver.snapshots) == set(record.snapshot_ids)
