"""The group controller's calls over a socket."""

from __future__ import annotations

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from tests.component.csi.harness import code, failed
from tests.component.csi.site import GIB, GROUPS, Site

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.fixture
def volumes(site: Site) -> list[str]:
    site.add_nothing(driver=GROUPS)
    return [site.create(f"pvc-{number}").volume_id for number in range(3)]


def take(site: Site, volumes: list[str], name: str = "group-1") -> pb.VolumeGroupSnapshot:
    request = pb.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=volumes)
    return site.client.group.CreateVolumeGroupSnapshot(request, timeout=60).group_snapshot


def members(group: pb.VolumeGroupSnapshot) -> list[str]:
    return [snapshot.snapshot_id for snapshot in group.snapshots]


def test_a_group_snapshot_has_a_member_of_each_volume_and_is_found_again(site: Site, volumes: list[str]) -> None:
    made = take(site, volumes)
    assert made.ready_to_use
    assert made.creation_time.seconds > 1_600_000_000
    assert sorted(snapshot.source_volume_id for snapshot in made.snapshots) == sorted(volumes)
    assert {snapshot.group_snapshot_id for snapshot in made.snapshots} == {made.group_snapshot_id}
    again = take(site, volumes[::-1])  # the order of the volumes means nothing
    assert again == made
    request = pb.GetVolumeGroupSnapshotRequest(group_snapshot_id=made.group_snapshot_id, snapshot_ids=members(made))
    assert site.client.group.GetVolumeGroupSnapshot(request, timeout=60).group_snapshot == made


def test_the_same_name_for_other_volumes_already_exists(site: Site, volumes: list[str]) -> None:
    take(site, volumes)
    request = pb.CreateVolumeGroupSnapshotRequest(name="group-1", source_volume_ids=volumes[:2])
    assert code(failed(site.client.group.CreateVolumeGroupSnapshot, request)) is grpc.StatusCode.ALREADY_EXISTS


def test_a_member_goes_with_its_group_only(site: Site, volumes: list[str]) -> None:
    made = take(site, volumes)
    request = pb.DeleteSnapshotRequest(snapshot_id=members(made)[0])
    assert code(failed(site.client.controller.DeleteSnapshot, request)) is INVALID
    delete = pb.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=made.group_snapshot_id, snapshot_ids=members(made))
    for _ in range(2):
        site.client.group.DeleteVolumeGroupSnapshot(delete, timeout=60)
    assert not site.client.controller.ListSnapshots(pb.ListSnapshotsRequest(), timeout=60).entries
    for volume in volumes:
        site.delete(pb.Volume(volume_id=volume))


def test_a_list_of_other_members_is_refused_and_deletes_nothing(site: Site, volumes: list[str]) -> None:
    made = take(site, volumes)
    wrong = [*members(made)[1:], "another"]
    for call, kind in (
        (site.client.group.DeleteVolumeGroupSnapshot, pb.DeleteVolumeGroupSnapshotRequest),
        (site.client.group.GetVolumeGroupSnapshot, pb.GetVolumeGroupSnapshotRequest),
    ):
        error = failed(call, kind(group_snapshot_id=made.group_snapshot_id, snapshot_ids=wrong))
        assert code(error) is INVALID
        assert "snapshot_ids" in (error.details() or "")
    assert take(site, volumes) == made


def test_a_volume_is_restored_from_a_member(site: Site, volumes: list[str]) -> None:
    made = take(site, volumes)
    restored = site.create("restored", snapshot=members(made)[0], required=2 * GIB)
    assert restored.content_source.snapshot.snapshot_id == members(made)[0]


def test_what_does_not_exist_is_not_found_or_deleted_already(site: Site, volumes: list[str]) -> None:
    get = pb.GetVolumeGroupSnapshotRequest(group_snapshot_id="nothing", snapshot_ids=["s"])
    assert code(failed(site.client.group.GetVolumeGroupSnapshot, get)) is NOT_FOUND
    site.client.group.DeleteVolumeGroupSnapshot(
        pb.DeleteVolumeGroupSnapshotRequest(group_snapshot_id="nothing"), timeout=60
    )
    create = pb.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=[volumes[0], "nothing"])
    assert code(failed(site.client.group.CreateVolumeGroupSnapshot, create)) is NOT_FOUND
    assert not site.client.controller.ListSnapshots(pb.ListSnapshotsRequest(), timeout=60).entries


def test_volumes_of_several_back_ends_have_no_common_moment(site: Site, volumes: list[str]) -> None:
    site.add_nothing(name="second", topology={"zone": "b"})
    elsewhere = site.create("elsewhere", parameters={"backend": "second"})
    request = pb.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=[volumes[0], elsewhere.volume_id])
    assert code(failed(site.client.group.CreateVolumeGroupSnapshot, request)) is INVALID


def test_a_back_end_that_cannot_do_it_is_named(site: Site) -> None:
    site.add_nothing(name="plain")
    volumes = [site.create(f"pvc-{number}").volume_id for number in range(2)]
    request = pb.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=volumes)
    error = failed(site.client.group.CreateVolumeGroupSnapshot, request)
    assert code(error) is INVALID
    assert "'plain'" in (error.details() or "")


def test_the_group_service_says_what_it_can_do(site: Site) -> None:
    answer = site.client.group.GroupControllerGetCapabilities(pb.GroupControllerGetCapabilitiesRequest(), timeout=60)
    kinds = [item.rpc.type for item in answer.capabilities]
    assert kinds == [pb.GroupControllerServiceCapability.RPC.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT]
