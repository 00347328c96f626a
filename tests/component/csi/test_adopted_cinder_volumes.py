"""Volumes of an OpenStack Cinder live on under the CSI driver, with their data and their names on the storage."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from csi_cinderlib.adoption.openstack import applying, planning, rollback, source
from csi_cinderlib.adoption.openstack import plan as plans
from csi_cinderlib.adoption.openstack.adopted import USED
from csi_cinderlib.adoption.openstack.places import Place, Places
from csi_cinderlib.adoption.openstack.plan import Plan
from csi_cinderlib.adoption.openstack.records import Names
from csi_cinderlib.adoption.openstack.selection import Selection
from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.model.records import Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.observe.progress import Progress
from csi_cinderlib.persistence.iteration import walk
from csi_cinderlib.provisioning.orphans import Orphans
from tests.component.adoption.openstack.databases import ADOPTABLE, id_of, restore
from tests.component.csi.site import GIB, LOOP_FILE, Site, block, mount


@pytest.fixture
def plan(site: Site, tmp_path: Path) -> Plan:
    """The site's store has adopted the volumes of a Cinder of Train; their files exist, each with its own name as its data."""
    found = source.read(f"sqlite:///{restore(tmp_path / 'cinder.db', 'train-sqlite')}")
    places = Places({"node1@lvm": Place("array1", "p1")}, {"array1": ""})
    selection = Selection(ids=tuple(map(id_of, ADOPTABLE)))
    plan = planning.make(found, selection, places, Names(), planning.judged(found, selection, places))
    storage(tmp_path).mkdir()
    for volume in plan.volumes:
        for name, gib in (
            (volume.on_storage, volume.gib),
            *((snapshot.on_storage, 1) for snapshot in volume.snapshots),
        ):
            with (storage(tmp_path) / name).open("wb") as file:
                file.write(name.encode())
                file.truncate(gib * GIB)
    plan = plans.parsed(plans.written(plan), "plan.yaml")
    records, problems = planning.compare(plan, found, places, Names())
    assert problems == ()
    assert applying.carry_out(site.store, plan, records, lambda: (records, ()), found.shown, Progress("")) == ()
    site._add("array1", LOOP_FILE, {"loopfile_directories": [f"p1:{storage(tmp_path)}"]}, None)
    return plan


def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


def test_a_volume_can_be_used_expanded_snapshotted_and_deleted(site: Site, plan: Plan, tmp_path: Path) -> None:
    id, controller = id_of(1), site.client.controller
    volume, file = pb.Volume(volume_id=id), storage(tmp_path) / f"volume-{id_of(91)}"
    assert plan.volumes[0].id == id
    site.publish(volume, "node2")
    controller.ControllerUnpublishVolume(pb.ControllerUnpublishVolumeRequest(volume_id=id), timeout=60)
    expansion = pb.ControllerExpandVolumeRequest(volume_id=id, volume_capability=mount())
    expansion.capacity_range.required_bytes = 4 * GIB
    assert controller.ControllerExpandVolume(expansion, timeout=60).capacity_bytes == 4 * GIB
    with file.open("rb") as content:
        assert content.read(len(file.name)) == file.name.encode()
    for snapshot in (site.snapshot(volume).snapshot_id, id_of(101)):
        controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=snapshot), timeout=60)
    site.delete(volume)
    assert not file.exists()


def test_a_new_volume_can_be_created_from_an_adopted_snapshot(site: Site, plan: Plan, tmp_path: Path) -> None:
    name = plan.volumes[0].snapshots[0].on_storage
    created = site.create("pvc-2", snapshot=id_of(101))
    with (storage(tmp_path) / f"volume-{created.volume_id}").open("rb") as content:
        assert content.read(len(name)) == name.encode()


def test_the_controller_finds_nothing_to_clean_up(site: Site, plan: Plan, tmp_path: Path) -> None:
    before = sorted(storage(tmp_path).iterdir())
    orphans = Orphans(site.store, site.backends, site.locks)
    assert plan
    assert orphans.settle() == ()
    assert list(orphans.find(nodes_too=False)) == []
    assert sorted(storage(tmp_path).iterdir()) == before


@pytest.mark.parametrize("capability", [mount(), block()], ids=["mount", "block"])
def test_an_adoption_can_be_rolled_back_until_the_first_attachment(
    site: Site, plan: Plan, tmp_path: Path, capability: pb.VolumeCapability
) -> None:
    volume = pb.Volume(volume_id=id_of(2))
    assert rollback.look(site.store, plan.name).problems == ()
    site.publish(volume, "node2", capability)
    attached = rollback.look(site.store, plan.name)
    assert [str(problem.problem) for problem in attached.problems] == [USED]
    request = pb.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id)
    site.client.controller.ControllerUnpublishVolume(request, timeout=60)
    outlook = rollback.look(site.store, plan.name)
    assert [problem.key for problem in outlook.problems] == [f"volume {id_of(2)}"]
    removed, problems = rollback.carry_out(site.store, plan.name, outlook)
    assert (len(removed), problems) == (4, ())
    assert [record.id for record in walk(site.store, Volume)] == [id_of(2)]
    assert len(list(storage(tmp_path).glob("*-*"))) == 6


def volume(number: int) -> pb.Volume:
    return pb.Volume(volume_id=id_of(number))


def test_a_volume_that_is_being_returned_is_left_alone(site: Site, plan: Plan, tmp_path: Path) -> None:
    """As after a kill of the rollback, while the controller runs."""
    file, planned = storage(tmp_path) / f"volume-{id_of(91)}", plan.volumes[0]
    (item,) = (item for item in rollback.look(site.store, plan.name).volumes if item.volume.id == planned.id)
    rollback._fence(site.store, item)
    with pytest.raises(grpc.RpcError, match="is returning"):
        site.publish(volume(1), "node2")
    with pytest.raises(grpc.RpcError, match="is returning, so it belongs to OpenStack Cinder; repeat"):
        site.delete(volume(1))
    with pytest.raises(grpc.RpcError, match="is returning"):
        site.snapshot(volume(1))
    with pytest.raises(grpc.RpcError, match="is returning"):
        site.create("pvc-2", snapshot=id_of(101))
    with pytest.raises(grpc.RpcError, match="is returning, so it belongs to OpenStack Cinder"):
        site.client.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=id_of(101)), timeout=60)
    orphans = Orphans(site.store, site.backends, site.locks)
    assert orphans.settle() == ()
    (_, found) = sorted(orphans.find(nodes_too=False), key=lambda orphan: orphan.kind)
    assert (found.id, found.reason, found.fix) == (id_of(1), "it is returning", "")
    assert "--apply or --rollback" in found.instead
    assert file.exists()
    outlook = rollback.look(site.store, plan.name)
    assert outlook.problems == ()
    rollback.put_back(site.store, plan.name)
    site.publish(volume(1), "node2")


def test_a_failed_attachment_does_not_end_the_right_to_return(site: Site, plan: Plan, tmp_path: Path) -> None:
    """The object is not where the record says, for example because of a wrong mapping."""
    file = storage(tmp_path) / f"volume-{id_of(2)}"
    content = file.read_bytes()[:64]
    hidden = file.rename(tmp_path / "elsewhere")
    for capability in (mount(), block()):
        with pytest.raises(grpc.RpcError, match=r"could not be found|not found|no such"):
            site.publish(volume(2), "node2", capability)
    assert rollback.look(site.store, plan.name).problems == ()
    hidden.rename(file)
    removed, problems = rollback.carry_out(site.store, plan.name, rollback.look(site.store, plan.name))
    assert (len(removed), problems) == (len(plan.volumes), ())
    assert file.read_bytes()[:64] == content


def test_a_volume_that_was_reverted_is_not_returned(site: Site, plan: Plan) -> None:
    snapshot = site.store.get(Snapshot, site.snapshot(volume(2)).snapshot_id)
    reverted = site.backends.get("array1").revert_volume(site.store.get(Volume, id_of(2)), snapshot)
    site.client.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=snapshot.id), timeout=60)
    assert (reverted.status, reverted.adoption) == (Status.AVAILABLE, "")
    (problem,) = rollback.look(site.store, plan.name).problems
    assert problem.problem == USED


def test_a_clone_that_was_begun_before_the_return_keeps_its_source(site: Site, plan: Plan) -> None:
    outlook = rollback.look(site.store, plan.name)
    site.store.add(
        Volume(
            id="clone", backend="array1", size=GiB(1), source=Source(SourceKind.VOLUME, id_of(2)), owner="controller"
        )
    )
    removed, problems = rollback.carry_out(site.store, plan.name, outlook)
    assert [problem.problem for problem in problems] == ["volume clone was created from it; delete that volume first"]
    assert site.store.get(Volume, id_of(2)).status is Status.AVAILABLE
    assert len(removed) == len(plan.volumes) - 1
