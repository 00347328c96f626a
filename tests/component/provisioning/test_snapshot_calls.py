"""CreateSnapshot, DeleteSnapshot, GetSnapshot."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    InUse,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
)
from csi_cinderlib.model.records import Snapshot, Status
from csi_cinderlib.model.requests import CreateSnapshot
from csi_cinderlib.model.size import GiB

from .conftest import Configure, Held, Site, snapshotting


def test_a_snapshot_is_taken_once_and_knows_its_time_and_size(site: Site, driver: Any) -> None:
    volume = site.create(gib=3)
    snapshot = site.snapshots.create(snapshotting(volume))
    assert (snapshot.status, snapshot.size, snapshot.volume_id) == (Status.AVAILABLE, 3, volume.id)
    assert snapshot.created_at.endswith("Z")
    site.backends.get("array").stop()
    assert site.snapshots.create(snapshotting(volume)) == snapshot, "what exists is answered without its back end"
    assert site.snapshots.get(snapshot.id) == snapshot
    assert driver.calls["create_snapshot"] == 1


def test_a_new_record_holds_all_that_was_asked_for(site: Site) -> None:
    site.clock = lambda: datetime(2026, 5, 1, 12, tzinfo=UTC)
    volume = site.create(gib=3)
    labels = {"csi.storage.k8s.io/volumesnapshot/name": "nightly"}
    request = CreateSnapshot(name="snap-1", volume_id=volume.id, parameters={"tier": "1"}, labels=labels)
    snapshot = site.snapshots.create(request)
    assert snapshot == Snapshot(
        id=site.ids.snapshot_id("snap-1"),
        name="snap-1",
        backend="array",
        volume_id=volume.id,
        size=GiB(3),
        status=Status.AVAILABLE,
        parameters={"tier": "1"},
        provider=snapshot.provider,
        labels=labels,
        blank=True,
        created_at="2026-05-01T12:00:00.000000Z",
        revision=snapshot.revision,
    )


def test_a_volume_in_use_can_be_snapshotted(site: Site) -> None:
    volume = site.create()
    site.publish(volume, site.node("n1"))
    assert site.snapshots.create(snapshotting(volume)).status is Status.AVAILABLE


def test_the_name_of_another_volumes_snapshot_is_taken(site: Site) -> None:
    first, second = site.create("a"), site.create("b")
    site.snapshots.create(snapshotting(first))
    with pytest.raises(AlreadyExists, match=first.id):
        site.snapshots.create(snapshotting(second))


def test_a_volume_that_does_not_exist_has_no_snapshot(site: Site) -> None:
    with pytest.raises(NotFound, match="volume"):
        site.snapshots.create(CreateSnapshot(name="s", volume_id="nowhere"))


@pytest.mark.parametrize(
    ("status", "error", "problem"),
    [
        (Status.CREATING, OperationPending, "is creating"),
        (Status.EXTENDING, OperationPending, "is extending"),
        (Status.DELETING, NotFound, "is being deleted"),
        (Status.ERROR, PreconditionFailed, "is error: it broke"),
    ],
)
def test_a_volume_that_is_not_whole_has_no_snapshot(
    site: Site, driver: Any, status: Status, error: type[Exception], problem: str
) -> None:
    volume = site.create()
    site.store.replace(replace(volume, status=status, message="it broke"))
    with pytest.raises(error, match=f"volume {volume.id!r} {problem}"):
        site.snapshots.create(snapshotting(volume))
    assert driver.snapshots == {}


def test_a_failed_snapshot_leaves_nothing(site: Site, driver: Any, configure: Configure) -> None:
    volume = site.create()
    configure(fail=["create_snapshot"])
    with pytest.raises(BackendError) as error:
        site.snapshots.create(snapshotting(volume))
    assert not isinstance(error.value, BackendUnavailable)
    assert site.store.page(Snapshot, where={}).records == ()
    configure(fail=[])
    site.snapshots.create(snapshotting(volume))
    assert len(driver.snapshots) == 1


def test_no_final_answer_while_a_snapshot_is_left_to_clean_up(site: Site, driver: Any, configure: Configure) -> None:
    volume = site.create()
    configure(fail=["create_snapshot", "delete_snapshot"])
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="a retry cleans up"):
            site.snapshots.create(snapshotting(volume))
    configure(fail=[])
    assert site.snapshots.create(snapshotting(volume)).status is Status.AVAILABLE
    assert len(driver.snapshots) == 1


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING])
def test_a_snapshot_that_died_in_the_middle_is_taken_anew(site: Site, driver: Any, status: Status) -> None:
    volume = site.create()
    snapshot = site.snapshots.create(snapshotting(volume))
    site.store.replace(replace(snapshot, status=status, owner="gone"))
    again = site.snapshots.create(snapshotting(volume))
    assert (again.id, again.status) == (snapshot.id, Status.AVAILABLE)
    assert (driver.calls["create_snapshot"], len(driver.snapshots)) == (2, 1)


def test_delete_is_fine_again_and_for_what_never_was(site: Site, driver: Any) -> None:
    snapshot = site.snapshots.create(snapshotting(site.create()))
    for _ in range(2):
        site.snapshots.delete(snapshot.id)
    site.snapshots.delete("nowhere")
    assert driver.snapshots == {}
    with pytest.raises(NotFound):
        site.snapshots.get(snapshot.id)


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING])
def test_a_snapshot_in_the_middle_of_something_is_deleted(site: Site, driver: Any, status: Status) -> None:
    snapshot = site.snapshots.create(snapshotting(site.create()))
    site.store.replace(replace(snapshot, status=status, owner="gone"))
    site.snapshots.delete(snapshot.id)
    assert driver.snapshots == {}


def test_a_snapshot_on_which_volumes_depend_is_in_use_and_stays(site: Site, configure: Configure) -> None:
    snapshot = site.snapshots.create(snapshotting(site.create()))
    configure(fail=["delete_snapshot"], exception="SnapshotIsBusy")
    with pytest.raises(InUse):
        site.snapshots.delete(snapshot.id)
    assert site.snapshots.get(snapshot.id).status is Status.AVAILABLE


def test_a_member_of_a_group_goes_with_its_group_only(site: Site) -> None:
    snapshot = site.snapshots.create(snapshotting(site.create()))
    site.store.replace(replace(snapshot, group_snapshot_id="together"))
    with pytest.raises(InvalidRequest, match="snapshot_id: is a member of group snapshot 'together'"):
        site.snapshots.delete(snapshot.id)
    assert site.snapshots.get(snapshot.id).status is Status.AVAILABLE


def test_a_slow_snapshot_holds_up_neither_publish_nor_another_volume(site: Site, driver: Any, held: Held) -> None:
    volume, node = site.create("a"), site.node("n1")
    held.hold()
    slow = threading.Thread(target=site.snapshots.create, args=(snapshotting(volume),))
    slow.start()
    held.wait_for()
    with pytest.raises(OperationPending):
        site.snapshots.create(snapshotting(volume))
    with pytest.raises(OperationPending):
        site.volumes.delete(volume.id)
    site.publish(volume, node)
    site.create("b")
    assert slow.is_alive()
    held.let_go()
    slow.join()
