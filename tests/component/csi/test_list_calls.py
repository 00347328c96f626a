"""Lists, snapshots and capacity over a socket, on drivers that do nothing and on loop files."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from tests.component.csi.harness import code, failed
from tests.component.csi.site import GIB, PAGE_LIMIT, Site, creation, mount

ABORTED = grpc.StatusCode.ABORTED


def walk_volumes(site: Site, max_entries: int) -> list[list[str]]:
    pages, token = [], ""
    while True:
        request = pb.ListVolumesRequest(max_entries=max_entries, starting_token=token)
        answer = site.client.controller.ListVolumes(request, timeout=60)
        pages.append([entry.volume.volume_id for entry in answer.entries])
        token = answer.next_token
        if not token:
            return pages


class TestPages:
    @pytest.mark.parametrize(
        ("max_entries", "lengths"), [(0, [5, 5, 2]), (1000, [5, 5, 2]), (4, [4, 4, 4]), (1, [1] * 12)]
    )
    def test_pages_are_as_long_as_asked_but_never_longer_than_the_limit(
        self, site: Site, max_entries: int, lengths: list[int]
    ) -> None:
        site.add_nothing()
        made = {site.create(f"pvc-{number}").volume_id for number in range(12)}
        pages = walk_volumes(site, max_entries)
        assert [len(page) for page in pages if page] == lengths
        assert {id for page in pages for id in page} == made

    def test_a_volume_deleted_during_the_walk_does_not_disturb_it(self, site: Site) -> None:
        site.add_nothing()
        made = sorted(site.create(f"pvc-{number}").volume_id for number in range(8))
        first = site.client.controller.ListVolumes(pb.ListVolumesRequest(max_entries=3), timeout=60)
        site.delete(pb.Volume(volume_id=first.entries[-1].volume.volume_id))
        request = pb.ListVolumesRequest(starting_token=first.next_token)
        rest = site.client.controller.ListVolumes(request, timeout=60)
        assert [entry.volume.volume_id for entry in rest.entries] == made[3 : 3 + PAGE_LIMIT]

    @pytest.mark.parametrize("token", ["1", "invalid-token", "\0", "x" * 500, "after:"])
    def test_a_token_that_is_not_ours_aborts_the_list(self, site: Site, token: str) -> None:
        site.add_nothing()
        volumes = failed(site.client.controller.ListVolumes, pb.ListVolumesRequest(starting_token=token))
        snapshots = failed(site.client.controller.ListSnapshots, pb.ListSnapshotsRequest(starting_token=token))
        assert code(volumes) is code(snapshots) is ABORTED

    def test_an_empty_list_is_no_error(self, site: Site) -> None:
        site.add_nothing()
        assert site.client.controller.ListVolumes(pb.ListVolumesRequest(), timeout=60) == pb.ListVolumesResponse()

    def test_published_nodes_and_condition_are_in_the_list(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        site.publish(volume, "n1")
        (entry,) = site.client.controller.ListVolumes(pb.ListVolumesRequest(), timeout=60).entries
        got = site.client.controller.ControllerGetVolume(
            pb.ControllerGetVolumeRequest(volume_id=volume.volume_id), timeout=60
        )
        assert len(entry.status.published_node_ids) == 1
        assert list(entry.status.published_node_ids) == list(got.status.published_node_ids)
        assert not entry.status.volume_condition.abnormal
        assert entry.volume == got.volume == volume


class TestSnapshots:
    def test_a_snapshot_is_made_found_listed_and_deleted(self, site: Site) -> None:
        driver = site.add_nothing()
        volume = site.create(required=2 * GIB)
        made = site.snapshot(volume)
        assert site.snapshot(volume) == made
        assert driver.calls["create_snapshot"] == 1
        assert (made.size_bytes, made.source_volume_id, made.ready_to_use) == (2 * GIB, volume.volume_id, True)
        assert made.creation_time.seconds > 1_600_000_000
        controller = site.client.controller
        assert controller.GetSnapshot(pb.GetSnapshotRequest(snapshot_id=made.snapshot_id), timeout=60).snapshot == made
        for request in (pb.ListSnapshotsRequest(), pb.ListSnapshotsRequest(snapshot_id=made.snapshot_id),
                        pb.ListSnapshotsRequest(source_volume_id=volume.volume_id)):  # fmt: skip
            assert [entry.snapshot for entry in controller.ListSnapshots(request, timeout=60).entries] == [made]
        for _ in range(2):
            controller.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id=made.snapshot_id), timeout=60)
        assert driver.snapshots == {}

    def test_unknown_ids_give_an_empty_list(self, site: Site) -> None:
        site.add_nothing()
        site.snapshot(site.create())
        for request in (pb.ListSnapshotsRequest(snapshot_id="x"), pb.ListSnapshotsRequest(source_volume_id="x")):
            assert not site.client.controller.ListSnapshots(request, timeout=60).entries

    def test_the_same_name_for_another_volume_already_exists(self, site: Site) -> None:
        site.add_nothing()
        site.snapshot(site.create("one"))
        other = pb.CreateSnapshotRequest(name="snap-1", source_volume_id=site.create("two").volume_id)
        assert code(failed(site.client.controller.CreateSnapshot, other)) is grpc.StatusCode.ALREADY_EXISTS

    def test_a_volume_with_snapshots_is_not_deleted(self, site: Site) -> None:
        driver = site.add_nothing()
        volume = site.create()
        site.snapshot(volume)
        error = failed(site.client.controller.DeleteVolume, pb.DeleteVolumeRequest(volume_id=volume.volume_id))
        assert code(error) is grpc.StatusCode.FAILED_PRECONDITION
        assert volume.volume_id in driver.volumes

    def test_snapshots_come_in_pages_too(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        made = {site.snapshot(volume, f"snap-{number}").snapshot_id for number in range(7)}
        first = site.client.controller.ListSnapshots(pb.ListSnapshotsRequest(), timeout=60)
        assert len(first.entries) == PAGE_LIMIT
        second = site.client.controller.ListSnapshots(
            pb.ListSnapshotsRequest(starting_token=first.next_token), timeout=60
        )
        assert {entry.snapshot.snapshot_id for entry in (*first.entries, *second.entries)} == made
        assert not second.next_token


class TestSources:
    def test_restores_and_clones_say_what_they_were_made_from(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        snapshot = site.snapshot(volume)
        restored = site.create("restored", snapshot=snapshot.snapshot_id, required=3 * GIB)
        cloned = site.create("cloned", clone=volume.volume_id)
        assert restored.content_source.snapshot.snapshot_id == snapshot.snapshot_id
        assert cloned.content_source.volume.volume_id == volume.volume_id
        assert (restored.capacity_bytes, cloned.capacity_bytes) == (3 * GIB, GIB)
        assert site.create("cloned", clone=volume.volume_id) == cloned
        error = failed(site.client.controller.CreateVolume, creation("cloned"))
        assert code(error) is grpc.StatusCode.ALREADY_EXISTS

    def test_a_restore_smaller_than_its_source_is_out_of_range(self, site: Site) -> None:
        site.add_nothing()
        snapshot = site.snapshot(site.create(required=3 * GIB))
        request = creation("small", snapshot=snapshot.snapshot_id, required=GIB, limit=2 * GIB)
        assert code(failed(site.client.controller.CreateVolume, request)) is grpc.StatusCode.OUT_OF_RANGE


class TestCapacity:
    def test_capacity_takes_a_class_as_it_is_written_and_no_capability(self, site: Site) -> None:
        site.add_nothing(capacity_gb="100")
        parameters = {
            "csi.storage.k8s.io/provisioner-secret-name": "s",
            "csi.storage.k8s.io/fstype": "xfs",
            "pool": "one",
        }
        answer = site.client.controller.GetCapacity(pb.GetCapacityRequest(parameters=parameters), timeout=60)
        assert answer.available_capacity > 0
        request = pb.GetCapacityRequest(parameters=parameters, volume_capabilities=[mount()])
        assert site.client.controller.GetCapacity(request, timeout=60) == answer

    def test_there_is_none_where_no_back_end_reaches(self, site: Site) -> None:
        site.add_nothing(topology={"zone": "a"})
        where = [pb.Topology(segments={"zone": zone}) for zone in ("a", "b")]
        found = [
            site.client.controller.GetCapacity(pb.GetCapacityRequest(accessible_topology=topology), timeout=60)
            for topology in where
        ]
        assert found[0].available_capacity > 0
        assert found[1].available_capacity == 0


def test_volumes_on_loop_files_are_files_of_the_size_that_was_answered(site: Site, tmp_path: Path) -> None:
    directory = tmp_path / "volumes"
    directory.mkdir()
    site.add_loop_files([directory])
    volume = site.create(required=1500 * 1024**2)
    snapshot = site.snapshot(volume)
    restored = site.create("restored", snapshot=snapshot.snapshot_id, required=3 * GIB)
    sizes = sorted(path.stat().st_size for path in directory.rglob("volume-*") if path.is_file())
    assert sizes == [2 * GIB, 3 * GIB]
    for done in (restored, volume):
        if done is volume:
            site.client.controller.DeleteSnapshot(
                pb.DeleteSnapshotRequest(snapshot_id=snapshot.snapshot_id), timeout=60
            )
        site.delete(done)
    assert [path for path in directory.rglob("*-*") if path.is_file()] == []
