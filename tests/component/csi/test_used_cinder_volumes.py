"""Whatever may change an adopted volume on the array, or lets a node use it, ends the right to return it, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from csi_cinderlib.adoption.openstack import rollback
from csi_cinderlib.adoption.openstack.adopted import USED
from csi_cinderlib.adoption.openstack.plan import Plan
from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.model.making import moved
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.model.transitions import ADOPTION
from tests.component.adoption.openstack.databases import id_of
from tests.component.csi.site import GIB, MODE, Site, mount, publication
from tests.component.csi.test_adopted_cinder_volumes import plan as plan  # noqa: PLC0414  # a fixture

Use = Callable[[Site], object]


def extend(site: Site) -> None:
    request = pb.ControllerExpandVolumeRequest(volume_id=id_of(1), volume_capability=mount())
    request.capacity_range.required_bytes = 4 * GIB
    site.client.controller.ControllerExpandVolume(request, timeout=60)


def delete_snapshot(site: Site) -> None:
    site.client.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=id_of(101)), timeout=60)


def read(site: Site) -> None:
    request = publication(pb.Volume(volume_id=id_of(1)), "node2", mount(mode=MODE.SINGLE_NODE_READER_ONLY))
    request.readonly = True
    site.client.controller.ControllerPublishVolume(request, timeout=60)
    gone = pb.ControllerUnpublishVolumeRequest(volume_id=id_of(1))
    site.client.controller.ControllerUnpublishVolume(gone, timeout=60)


def modify(site: Site) -> None:
    request = pb.ControllerModifyVolumeRequest(
        volume_id=id_of(1), mutable_parameters={"extraSpecs/provisioning:type": "thick"}
    )
    site.client.controller.ControllerModifyVolume(request, timeout=60)


@pytest.mark.parametrize("use", [extend, delete_snapshot, read, modify])
def test_a_use_ends_the_right_to_return(site: Site, plan: Plan, use: Use) -> None:
    assert rollback.look(site.store, plan.name).problems == ()
    use(site)
    (problem,) = rollback.look(site.store, plan.name).problems
    assert (problem.key, problem.problem) == (f"volume {id_of(1)}", USED)


@pytest.mark.parametrize("status", [Status.RETURNING, Status.RETURNED])
def test_a_refused_attachment_changes_nothing(site: Site, plan: Plan, status: Status) -> None:
    volume = site.store.get(Volume, id_of(2))
    volume = site.store.replace(moved(volume, Status.RETURNING, ADOPTION))
    if status is Status.RETURNED:
        volume = site.store.replace(moved(volume, status, ADOPTION))
    assert plan.name == volume.adoption
    with pytest.raises(grpc.RpcError, match=f"is {status}"):
        site.publish(pb.Volume(volume_id=id_of(2)), "node2")
    assert site.store.get(Volume, id_of(2)) == volume
    assert site.store.page(Attachment).records == ()


def test_a_new_snapshot_that_is_deleted_again_does_not_prevent_the_return(site: Site, plan: Plan) -> None:
    taken = site.snapshot(pb.Volume(volume_id=id_of(1)))
    (problem,) = rollback.look(site.store, plan.name).problems
    assert "which Cinder does not know; delete it first" in problem.problem
    site.client.controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=taken.snapshot_id), timeout=60)
    assert rollback.look(site.store, plan.name).problems == ()
    assert site.store.get(Snapshot, id_of(101)).adoption == plan.name
