"""Which calls exclude one another: the keys that each call holds, alone or shared with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from csi_cinderlib.errors import OperationPending
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Volume
from csi_cinderlib.model.requests import ExpandVolume
from csi_cinderlib.model.size import Bytes, SizeRange
from csi_cinderlib.provisioning.groups import Groups
from csi_cinderlib.provisioning.locking import attachments, group_snapshot, grouping, snapshot, volume

from .conftest import GIB, MOUNT, Site, snapshotting

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)  # locks know no store


@dataclass
class World:
    """A volume with a snapshot, and one with a member of a group snapshot."""

    site: Site
    groups: Groups
    volume: Volume
    snapshot: Snapshot
    grouped: Volume
    member: str


@pytest.fixture
def world(site: Site) -> World:
    site.add_backend("groups", driver="tests.support.fakes.nothing.GroupDriver")
    site.node("n1")
    groups = Groups(site.store, site.backends, site.locks, ids=site.ids)
    grouped = site.create("grouped", parameters={"backend": "groups"})
    member = groups.create("together", [grouped.id], {}).members[0].id
    made = site.create("pvc-1", parameters={"backend": "array"})
    return World(site, groups, made, site.snapshots.create(snapshotting(made)), grouped, member)


@dataclass(frozen=True)
class Case:
    """A call, and what it holds."""

    call: Callable[[World], object]
    alone: Callable[[World], Sequence[str]]
    shared: Callable[[World], Sequence[str]] = lambda _: ()


EXPANSION = SizeRange(Bytes(2 * GIB), Bytes(0))
CASES = {
    "create a volume": Case(lambda w: w.site.create("new"), lambda w: [volume(w.site.ids.volume_id("new"))]),
    "clone a volume": Case(
        lambda w: w.site.create("new", source=Source(SourceKind.VOLUME, w.volume.id)),
        lambda w: [volume(w.site.ids.volume_id("new"))],
        lambda w: [volume(w.volume.id)],
    ),
    "restore a snapshot": Case(
        lambda w: w.site.create("new", source=Source(SourceKind.SNAPSHOT, w.snapshot.id)),
        lambda w: [volume(w.site.ids.volume_id("new"))],
        lambda w: [snapshot(w.snapshot.id)],
    ),
    "delete a volume": Case(lambda w: w.site.volumes.delete("gone"), lambda w: [volume("gone"), attachments("gone")]),
    "expand a volume": Case(
        lambda w: w.site.volumes.expand(ExpandVolume(volume_id=w.volume.id, size=EXPANSION, capability=MOUNT)),
        lambda w: [volume(w.volume.id)],
    ),
    "publish a volume": Case(
        lambda w: w.site.publish(w.volume, "n1"),
        lambda w: [attachments(w.volume.id)],
        lambda w: [volume(w.volume.id)],
    ),
    "unpublish a volume": Case(
        lambda w: w.site.attachments.unpublish(w.volume.id, "n1"),
        lambda w: [attachments(w.volume.id)],
        lambda w: [volume(w.volume.id)],
    ),
    "take a snapshot": Case(
        lambda w: w.site.snapshots.create(snapshotting(w.volume, "new")),
        lambda w: [snapshot(w.site.ids.snapshot_id("new"))],
        lambda w: [volume(w.volume.id)],
    ),
    "delete a snapshot": Case(lambda w: w.site.snapshots.delete(w.snapshot.id), lambda w: [snapshot(w.snapshot.id)]),
    "take a group snapshot": Case(
        lambda w: w.groups.create("new", [w.grouped.id], {}),
        lambda w: [group_snapshot(w.site.ids.group_snapshot_id("new")), grouping(w.grouped.id)],
        lambda w: [volume(w.grouped.id)],
    ),
    "delete a group snapshot": Case(
        lambda w: w.groups.delete(w.site.ids.group_snapshot_id("together"), []),
        lambda w: [group_snapshot(w.site.ids.group_snapshot_id("together")), snapshot(w.member)],
    ),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@cases
def test_a_call_is_refused_while_another_holds_one_of_its_keys(world: World, case: Case) -> None:
    if case is CASES["delete a volume"]:
        world.site.create("new")
    for key in case.alone(world):
        with world.site.locks.hold(shared=[key]), pytest.raises(OperationPending, match=key):
            case.call(world)
    for key in case.shared(world):
        with world.site.locks.hold(key), pytest.raises(OperationPending, match=key):
            case.call(world)


@cases
def test_a_call_runs_beside_others_that_share_what_it_shares_and_gives_all_back(world: World, case: Case) -> None:
    with world.site.locks.hold(shared=case.shared(world)):
        case.call(world)
    with world.site.locks.hold(*case.alone(world), *case.shared(world)):
        pass
