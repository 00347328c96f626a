"""What a controller left half done, and nobody asks for any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import OperationPending
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Node, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import stamp
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.provisioning import locking
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.heartbeats import Owners
from csi_cinderlib.provisioning.orphans import Orphans

from .conftest import Configure, Site, snapshotting

LONG_AGO = stamp(datetime.now(UTC) - timedelta(hours=1))


def leave(site: Site, volume: Volume, status: Status, *, created_at: str = LONG_AGO, **more: Any) -> Volume:
    return site.store.replace(replace(volume, status=status, created_at=created_at, owner="gone", **more))


def volumes(site: Site) -> list[tuple[str, Status, int]]:
    return [(record.name, record.status, record.size) for record in site.store.page(Volume, where={}).records]


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING])
def test_a_volume_that_nobody_asks_for_any_more_is_removed(site: Site, driver: Any, status: Status) -> None:
    leave(site, site.create("left"), status)
    site.create("kept")
    (settled,) = site.orphans.settle()
    assert (settled.orphan.kind, settled.error) == ("volume", "")
    assert volumes(site) == [("kept", Status.AVAILABLE, 1)]
    assert len(driver.volumes) == 1
    assert site.orphans.settle() == ()


def test_a_creation_within_the_grace_is_listed_and_left_alone(site: Site) -> None:
    leave(site, site.create(), Status.CREATING, created_at=stamp(datetime.now(UTC)))
    assert site.orphans.settle() == ()
    (orphan,) = site.orphans.find()
    assert (orphan.status, orphan.due, orphan.owner) == ("creating", False, "gone")


def test_a_record_that_lost_its_status_is_listed_and_its_volume_left_alone(
    site: Site, driver: Any, tmp_path: Path
) -> None:
    site.create("edited")
    directory = tmp_path / "edited"
    directory.mkdir()
    with closing(open_store("sql", {}, state_dir=directory)) as store:
        (volume,) = (store.add(replace(record, revision="")) for record in site.store.page(Volume).records)
        with closing(sqlite3.connect(directory / "metadata.db")) as connection, connection:
            connection.execute(
                "UPDATE volumes SET status = 'creating', body = json_remove(body, '$.status', '$.created_at')"
            )
        orphans = Orphans(store, site.backends, site.locks)
        assert orphans.settle() == ()
        (listed,) = orphans.find()
    assert (listed.id, listed.reason) == (volume.id, "its record cannot be read")
    assert set(driver.volumes) == {volume.id}


def test_an_expansion_is_finished(site: Site) -> None:
    volume = site.create(gib=1)
    leave(site, volume, Status.EXTENDING, target_size=GiB(3))
    assert [settled.error for settled in site.orphans.settle()] == [""]
    assert volumes(site) == [("pvc-1", Status.AVAILABLE, 3)]


def test_attachments_and_snapshots_go_before_their_volume(site: Site, driver: Any) -> None:
    volume = site.create()
    site.publish(volume, site.node("n1"))
    snapshot = site.snapshots.create(snapshotting(volume))
    (attachment,) = site.store.page(Attachment, where={}).records
    site.store.replace(replace(attachment, status=Status.CREATING, created_at=LONG_AGO))
    site.store.replace(replace(snapshot, status=Status.ERROR, created_at=LONG_AGO))
    leave(site, site.store.get(Volume, volume.id), Status.DELETING)
    assert [settled.orphan.kind for settled in site.orphans.settle()] == ["attachment", "snapshot", "volume"]
    assert volumes(site) == []
    assert site.store.page(Snapshot, where={}).records == ()
    assert (driver.volumes, driver.snapshots, driver.mapped, driver.exports) == ({}, {}, set(), set())


def test_one_that_fails_is_told_and_tried_again_and_holds_up_nobody(
    site: Site, driver: Any, configure: Configure
) -> None:
    for name in ("a", "b"):
        leave(site, site.create(name), Status.DELETING)
    driver.calls.clear()
    configure(fail=["delete_volume:1"])
    assert sorted(settled.error for settled in site.orphans.settle()) == ["", "back end 'array': the array says no"]
    assert [settled.error for settled in site.orphans.settle()] == [""]
    assert driver.volumes == {}


def a_volume(site: Site) -> list[str]:
    volume = leave(site, site.create(), Status.DELETING)
    return [locking.volume(volume.id), locking.attachments(volume.id)]


def a_snapshot(site: Site) -> list[str]:
    snapshot = site.snapshots.create(snapshotting(site.create()))
    site.store.replace(replace(snapshot, status=Status.DELETING))
    return [locking.snapshot(snapshot.id)]


def an_attachment(site: Site) -> list[str]:
    site.publish(site.create(), site.node("n1"))
    (attachment,) = site.store.page(Attachment, where={}).records
    site.store.replace(replace(attachment, status=Status.DELETING))
    return [locking.attachments(attachment.volume_id)]


def a_group_snapshot(site: Site) -> list[str]:
    site.add_backend("groups", driver="tests.support.fakes.nothing.GroupDriver")
    groups = Groups(site.store, site.backends, site.locks, ids=site.ids)
    taken = groups.create("together", [site.create(parameters={"backend": "groups"}).id], {}).record
    site.store.replace(replace(taken, status=Status.DELETING))
    return [locking.group_snapshot(taken.id), *map(locking.snapshot, taken.snapshot_ids)]


@pytest.mark.parametrize("make", [a_volume, a_snapshot, an_attachment, a_group_snapshot])
def test_one_that_is_being_worked_on_is_left_alone(site: Site, make: Callable[[Site], list[str]]) -> None:
    for key in make(site):
        with site.locks.hold(key):
            assert site.orphans.settle() == ()
    assert len(site.orphans.settle()) == 1


def after_the_first(driver: Any, method: str, act: Callable[[], object]) -> None:
    """Let another controller act when the driver was called for the first time."""
    original = getattr(driver, method)

    def called(*arguments: Any, **named: Any) -> Any:
        setattr(driver, method, original)
        answer = original(*arguments, **named)
        act()
        return answer

    setattr(driver, method, called)


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING])
def test_a_volume_that_became_available_after_it_was_listed_is_kept(site: Site, driver: Any, status: Status) -> None:
    """Another controller has finished its creation, and it may hold data."""
    first, second = sorted((site.create("a"), site.create("b")), key=lambda volume: volume.id)
    leave(site, first, Status.DELETING)
    finished = replace(leave(site, second, status), status=Status.AVAILABLE, owner="")
    after_the_first(driver, "delete_volume", lambda: site.store.replace(finished))
    assert [settled.orphan.id for settled in site.orphans.settle()] == [first.id]
    assert volumes(site) == [(second.name, Status.AVAILABLE, 1)]
    assert set(driver.volumes) == {second.id}


def test_an_orphan_that_was_removed_after_it_was_listed_is_skipped(site: Site, driver: Any) -> None:
    """Another controller has settled it."""
    first, second = sorted((site.create("a"), site.create("b")), key=lambda volume: volume.id)
    leave(site, first, Status.DELETING)
    left = leave(site, second, Status.DELETING)
    after_the_first(driver, "delete_volume", lambda: site.store.remove(left))
    assert [settled.orphan.id for settled in site.orphans.settle()] == [first.id]


def test_an_attachment_that_was_finished_after_it_was_listed_is_kept(site: Site, driver: Any) -> None:
    """Another controller has answered it, and the node may write."""
    for name in "ab":
        site.publish(site.create(name), site.node(f"node-{name}"))
    first, second = site.store.page(Attachment, where={}).records
    site.store.replace(replace(first, status=Status.DELETING))
    left = site.store.replace(replace(second, status=Status.CREATING, created_at=LONG_AGO))
    finished = replace(left, status=Status.AVAILABLE)
    after_the_first(driver, "terminate_connection", lambda: site.store.replace(finished))
    assert [settled.orphan.id for settled in site.orphans.settle()] == [first.id]
    (kept,) = site.store.page(Attachment, where={}).records
    assert (kept.id, kept.status) == (second.id, Status.AVAILABLE)
    assert [volume_id for volume_id, _host in driver.mapped] == [second.volume_id]


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.DELETING, Status.EXTENDING])
def test_one_whose_owner_lives_elsewhere_is_left_alone(site: Site, status: Status) -> None:
    there = Owners(site.store, owner="there")
    there.beat()
    old = site.backends.get("array")
    watchful = LocalBackend(
        old.settings,
        store=site.store,
        runtime=site.runtime,
        owner="here",
        is_alive=Owners(site.store, owner="here").alive,
    )
    volume = site.create()
    site.store.replace(replace(volume, status=status, created_at=LONG_AGO, owner="there"))
    site.backends.add(watchful)
    watchful.start()
    assert site.orphans.settle() == ()
    with pytest.raises(OperationPending, match=f"volume .* is being processed by 'there' \\({status}\\)"):
        site.volumes.delete(volume.id)
    assert site.store.get(Volume, volume.id).owner == "there"
    there.leave()
    assert len(site.orphans.settle()) == 1
    left = [(volume.name, Status.AVAILABLE, 1)] if status is Status.EXTENDING else []
    assert volumes(site) == left


def test_an_attachment_of_a_node_that_is_gone_is_only_listed(site: Site) -> None:
    volume, node = site.create(), site.node("n1")
    site.publish(volume, node)
    assert site.orphans.find() == ()
    site.store.remove(site.store.get(Node, node))
    (orphan,) = site.orphans.find()
    assert (orphan.kind, orphan.due) == ("attachment", False)
    assert "'n1'" in orphan.reason
    assert site.orphans.settle() == ()
    assert len(site.store.page(Attachment, where={}).records) == 1


def test_without_a_grace_even_what_was_just_begun_is_undone(site: Site) -> None:
    leave(site, site.create(), Status.CREATING, created_at=stamp(datetime.now(UTC) - timedelta(seconds=1)))
    assert len(Orphans(site.store, site.backends, site.locks, grace=timedelta(0)).settle()) == 1
    assert volumes(site) == []


def test_a_node_that_is_registered_elsewhere_is_not_gone(site: Site, tmp_path: Path) -> None:
    """In Kubernetes nodes register with the API server, also where the volumes' records lie in a database."""
    volume = site.create()
    node = site.node("n1")
    site.publish(volume, node)
    record = site.store.get(Node, node)
    site.store.remove(record)
    registry = open_store("memory", {}, state_dir=tmp_path)
    registry.add(replace(record, revision=""))
    assert [orphan.node for orphan in site.orphans.find()] == ["n1"]
    assert Orphans(site.store, site.backends, site.locks, nodes=registry).find() == ()
