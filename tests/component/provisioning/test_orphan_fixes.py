"""`Orphans.fix`: one orphan at a time, whether it is due or not, and only what this installation certainly made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import NotFound, OperationPending, PreconditionFailed
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.leftovers import Leftover
from csi_cinderlib.model.records import Attachment, Node, Record, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.model.times import stamp, utc_now
from csi_cinderlib.provisioning import locking
from csi_cinderlib.provisioning.groups import Groups

from .conftest import Configure, Site, snapshotting


def unfinished(site: Site, record: Any, status: Status = Status.CREATING, **values: Any) -> Any:
    """Since a moment ago, so that it is not due, by a process that is gone."""
    return site.store.replace(replace(record, status=status, owner="gone", created_at=stamp(utc_now()), **values))


def a_volume(site: Site) -> str:
    return str(unfinished(site, site.create()).id)


def a_deletion(site: Site) -> str:
    return str(unfinished(site, site.create(), Status.DELETING).id)


def a_snapshot(site: Site) -> str:
    return str(unfinished(site, site.snapshots.create(snapshotting(site.create()))).id)


def an_attachment(site: Site) -> str:
    site.publish(site.create(), site.node("n1"))
    (attachment,) = site.store.page(Attachment, where={}).records
    return str(unfinished(site, attachment).id)


def a_group_snapshot(site: Site) -> str:
    site.add_backend("groups", driver="tests.support.fakes.nothing.GroupDriver")
    groups = Groups(site.store, site.backends, site.locks, ids=site.ids)
    taken = groups.create("together", [site.create(parameters={"backend": "groups"}).id], {}).record
    return str(unfinished(site, taken, Status.DELETING).id)


@pytest.mark.parametrize("make", [a_volume, a_deletion, a_snapshot, an_attachment, a_group_snapshot])
def test_every_kind_is_repaired_before_it_is_due(site: Site, make: Callable[[Site], str]) -> None:
    id = make(site)
    (listed,) = site.orphans.find()
    assert (listed.id, bool(listed.fix), listed.instead) == (id, True, "")
    settled = site.orphans.fix(id)
    assert (settled.orphan.id, settled.error) == (id, "")
    assert site.orphans.find() == ()
    with pytest.raises(NotFound, match="csi-cinderlib get orphans"):
        site.orphans.fix(id)


def test_a_growth_is_finished(site: Site) -> None:
    volume = unfinished(site, site.create(gib=1), Status.EXTENDING, target_size=GiB(3))
    assert site.orphans.fix(volume.id).error == ""
    assert site.store.get(Volume, volume.id).size == 3


def test_what_fails_stays_with_the_reason(site: Site, driver: Any, configure: Configure) -> None:
    id = a_deletion(site)
    configure(fail=["delete_volume:1"])
    assert site.orphans.fix(id).error == "back end 'array': the array says no"
    assert site.orphans.fix(id).error == ""
    assert driver.volumes == {}


@pytest.mark.parametrize("make", [a_volume, an_attachment])
def test_one_that_is_being_worked_on_is_refused(site: Site, make: Callable[[Site], str]) -> None:
    id = make(site)
    (volume,) = site.store.page(Volume, where={}).records
    with (
        site.locks.hold(locking.attachments(volume.id)),
        pytest.raises(OperationPending, match="another call is in progress"),
    ):
        site.orphans.fix(id)


def taken(site: Site) -> str:
    return str(unfinished(site, site.create(), Status.ERROR, name_taken="volume-x exists").id)


def noted(site: Site) -> str:
    """A leftover whose record is gone."""
    found = Leftover(kind="volume", id="v-gone", backend="array", name="volume-v-gone", since="", reason="uncertain")
    leftovers.note(site.store, found)
    return found.id


def on_a_node_that_is_gone(site: Site) -> str:
    site.publish(site.create(), site.node("n1"))
    (attachment,) = site.store.page(Attachment, where={}).records
    site.store.remove(site.store.get(Node, attachment.node_id))
    return str(attachment.id)


def a_member_of_a_group_snapshot(site: Site) -> str:
    snapshot = site.snapshots.create(snapshotting(site.create()))
    return str(unfinished(site, snapshot, group_snapshot_id="together").id)


@pytest.mark.parametrize(
    ("make", "instead"),
    [
        (taken, "Look for it on the back end, then run `csi-cinderlib orphans forget"),
        (noted, "Look for it on the back end, then run `csi-cinderlib orphans forget v-gone`"),
        (on_a_node_that_is_gone, "delete its Node object"),
        (a_member_of_a_group_snapshot, "It is part of group snapshot 'together'; fix the group snapshot."),
    ],
)
def test_what_is_not_certainly_the_drivers_to_remove_is_left_alone(
    site: Site, driver: Any, make: Callable[[Site], str], instead: str
) -> None:
    id = make(site)
    before, there = contents(site), (dict(driver.volumes), dict(driver.snapshots), set(driver.mapped))
    with pytest.raises(PreconditionFailed, match="cannot fix ") as refused:
        site.orphans.fix(id)
    assert instead in str(refused.value)
    assert (contents(site), (driver.volumes, driver.snapshots, driver.mapped)) == (before, there)


def contents(site: Site) -> list[Record]:
    kinds: Any = (Volume, Snapshot, Attachment)
    return [record for kind in kinds for record in site.store.page(kind, where={}).records]
