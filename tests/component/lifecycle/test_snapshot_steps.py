"""Snapshots step by step: what is written down, what the driver is asked, and what is left when a step fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, BackendUnavailable, DriverError, InUse, PreconditionFailed, Unsupported
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, cinders, failing, observe

LONG_AGO = "2020-01-01T00:00:00.000000Z"


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


@pytest.fixture
def volume(backend: LocalBackend) -> Volume:
    return backend.create_volume(makers.volume())


@pytest.fixture
def snapshot(backend: LocalBackend, volume: Volume) -> Snapshot:
    return backend.create_snapshot(makers.snapshot(volume))


@pytest.mark.parametrize(("status", "error"), makers.NOT_COPYABLE.items())
def test_there_is_no_snapshot_of_what_is_not_whole(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore, status: Status, error: type[DriverError]
) -> None:
    store.replace(replace(volume, status=status))
    with pytest.raises(error, match=f"volume {volume.id!r}"):
        backend.create_snapshot(makers.snapshot(volume))
    assert (driver.calls["create_snapshot"], store.page(Snapshot).records) == (0, ())


def test_a_driver_whose_snapshots_make_a_volume_unusable_takes_none(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver="tests.support.fakes.nothing.RemoteFSSnapDriver")
    driver: Any = backend.driver
    volume = backend.create_volume(makers.volume())
    with pytest.raises(Unsupported, match="back end 'fake' cannot take snapshots"):
        backend.create_snapshot(makers.snapshot(volume))
    assert (driver.snapshots, store.page(Snapshot).records) == ({}, ())


def test_a_snapshot_names_its_owner_and_its_time_from_the_start(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    seen = observe(driver, "create_snapshot", lambda taken: store.get(Snapshot, taken.id))
    taken = backend.create_snapshot(replace(makers.snapshot(volume), status=Status.ERROR))
    assert [(record.status, record.owner, bool(record.created_at)) for record in seen] == [
        (Status.CREATING, "me", True)
    ]
    assert (taken.status, taken.owner, taken.message, taken.unfinished) == (Status.AVAILABLE, "", "", False)
    assert taken.provider.location == f"nowhere/snapshot-{taken.id}"
    assert backend.create_snapshot(replace(makers.snapshot(volume), created_at=LONG_AGO)).created_at == LONG_AGO


def test_a_finished_snapshot_has_no_message(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    observe(
        driver,
        "create_snapshot",
        lambda taken: store.replace(replace(store.get(Snapshot, taken.id), message="it takes long")),
    )
    assert backend.create_snapshot(makers.snapshot(volume)).message == ""


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR])
def test_a_resumed_snapshot_is_ones_own_before_anything_is_deleted(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore, status: Status
) -> None:
    left = store.replace(replace(snapshot, status=status, owner="dead", message="no space", unfinished=True))
    seen = observe(driver, "delete_snapshot", lambda doomed: store.get(Snapshot, doomed.id))
    taken = backend.resume_create_snapshot(left)
    assert [(record.status, record.owner, record.message) for record in seen] == [(Status.CREATING, "me", "")]
    assert (taken.status, taken.owner, taken.message, taken.unfinished) == (Status.AVAILABLE, "", "", False)


def test_only_the_taking_of_a_snapshot_is_resumed(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore
) -> None:
    assert backend.resume_create_snapshot(snapshot) is snapshot
    with pytest.raises(PreconditionFailed, match="is deleting; its creation cannot be resumed"):
        backend.resume_create_snapshot(store.replace(replace(snapshot, status=Status.DELETING)))
    assert (driver.calls["create_snapshot"], driver.calls["delete_snapshot"]) == (1, 0)


def test_a_clean_up_that_fails_does_not_keep_a_snapshot_from_being_taken_unless_the_array_is_away(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore
) -> None:
    failing(driver, "delete_snapshot", RuntimeError("there is none"))
    taken = backend.resume_create_snapshot(store.replace(replace(snapshot, status=Status.ERROR)))
    assert taken.status is Status.AVAILABLE
    failing(driver, "delete_snapshot", AWAY)
    calls = driver.calls["create_snapshot"]
    with pytest.raises(BackendUnavailable):
        backend.resume_create_snapshot(store.replace(replace(taken, status=Status.ERROR)))
    assert driver.calls["create_snapshot"] == calls


def test_a_snapshot_that_could_not_be_undone_has_a_record_that_says_so(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    failing(driver, "create_snapshot", RuntimeError("no space"))
    failing(driver, "delete_snapshot", RuntimeError("stuck"))
    with pytest.raises(BackendError, match="no space"):
        backend.create_snapshot(makers.snapshot(volume))
    (left,) = store.page(Snapshot).records
    assert left.status is Status.ERROR
    assert "no space; clean-up failed as well: back end 'fake': stuck" in left.message


def test_a_failed_snapshot_that_the_array_does_not_have_leaves_no_record(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    record = makers.snapshot(volume)
    failing(driver, "create_snapshot", RuntimeError("no space"))
    failing(driver, "delete_snapshot", cinders("SnapshotNotFound", snapshot_id=record.id))
    with pytest.raises(BackendError, match="no space"):
        backend.create_snapshot(record)
    assert store.page(Snapshot).records == ()


@pytest.mark.parametrize(
    ("status", "unfinished"), [(Status.AVAILABLE, False), (Status.CREATING, True), (Status.ERROR, True)]
)
def test_an_intent_to_delete_a_snapshot_knows_whether_it_was_whole(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore, status: Status, unfinished: bool
) -> None:
    seen = observe(driver, "delete_snapshot", lambda doomed: store.get(Snapshot, doomed.id))
    backend.delete_snapshot(store.replace(replace(snapshot, status=status)))
    assert [(record.status, record.owner, record.unfinished) for record in seen] == [
        (Status.DELETING, "me", unfinished)
    ]
    assert store.page(Snapshot).records == ()


def test_a_failed_deletion_of_a_snapshot_says_why(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore
) -> None:
    failing(driver, "delete_snapshot", RuntimeError("stuck"))
    with pytest.raises(BackendError, match="stuck"):
        backend.delete_snapshot(snapshot)
    left = store.get(Snapshot, snapshot.id)
    assert (left.status, left.owner, left.message) == (Status.DELETING, "me", "back end 'fake': stuck")


def test_a_snapshot_that_the_array_does_not_have_is_deleted(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore
) -> None:
    failing(driver, "delete_snapshot", cinders("SnapshotNotFound", snapshot_id=snapshot.id))
    for _ in range(2):
        backend.delete_snapshot(snapshot)
    assert store.page(Snapshot).records == ()


def test_a_snapshot_in_use_stays_whole_and_belongs_to_nobody(
    backend: LocalBackend, driver: Any, snapshot: Snapshot, store: ObservedStore
) -> None:
    left = store.replace(replace(snapshot, message="looked after"))
    failing(driver, "delete_snapshot", cinders("SnapshotIsBusy", snapshot_name="one"))
    with pytest.raises(InUse):
        backend.delete_snapshot(left)
    kept = store.get(Snapshot, snapshot.id)
    assert (kept.status, kept.owner, kept.message) == (Status.AVAILABLE, "", "looked after")


@pytest.mark.parametrize("before", [Status.DELETING, Status.DELETED])
def test_the_last_snapshot_removes_the_record_of_a_volume_that_is_deleted_at_the_same_time(
    backend: LocalBackend, driver: Any, volume: Volume, snapshot: Snapshot, store: ObservedStore, before: Status
) -> None:
    """Another process has begun to delete the volume, and ends while this snapshot still has its record."""
    volume = store.replace(replace(store.get(Volume, volume.id), status=before))
    observe(driver, "delete_snapshot", lambda _: store.replace(replace(volume, status=Status.DELETED)))
    backend.delete_snapshot(snapshot)
    assert (store.page(Volume).records, store.page(Snapshot).records) == ((), ())


def test_a_snapshot_is_deleted_with_its_intent_one_look_at_each_related_record_and_its_removal(
    backend: LocalBackend, snapshot: Snapshot, store: ObservedStore
) -> None:
    store.calls.clear()
    backend.delete_snapshot(snapshot)
    assert store.calls == ["replace", "page", "get", "page", "remove"]
