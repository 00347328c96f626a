"""The controller's calls on volumes over a socket: repeated, raced, out of order, with odd sizes and names."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.model.connection import Connection, Formatting
from tests.component.csi.harness import code, failed
from tests.component.csi.site import GIB, MIB, MODE, RETYPING, Site, block, creation, mount, node_id, publication

ABORTED, NOT_FOUND = grpc.StatusCode.ABORTED, grpc.StatusCode.NOT_FOUND
INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


def outcome(call: Any, request: Any) -> str:
    try:
        call(request, timeout=60)
    except grpc.RpcError as error:
        return code(error).name
    return "OK"


class TestSizes:
    @pytest.mark.parametrize(
        ("required", "limit", "expected"),
        [(0, 0, GIB), (1, 0, GIB), (1500 * MIB, 0, 2 * GIB), (GIB, GIB, GIB), (GIB + 1, 0, 2 * GIB), (0, 5 * GIB, GIB)],
    )
    def test_sizes_are_rounded_up_and_the_real_one_is_answered(
        self, site: Site, required: int, limit: int, expected: int
    ) -> None:
        driver = site.add_nothing()
        volume = site.create(required=required, limit=limit)
        assert volume.capacity_bytes == expected
        assert driver.volumes[volume.volume_id] * GIB == expected

    @pytest.mark.parametrize(("required", "limit"), [(1, 1), (1500 * MIB, 1600 * MIB), (0, 1)])
    def test_a_range_without_a_whole_gibibyte_is_out_of_range(self, site: Site, required: int, limit: int) -> None:
        site.add_nothing()
        error = failed(site.client.controller.CreateVolume, creation(required=required, limit=limit))
        assert code(error) is grpc.StatusCode.OUT_OF_RANGE
        assert "capacity_range" in (error.details() or "")

    def test_growth_is_rounded_up_and_answers_the_real_size(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        expand = site.client.controller.ControllerExpandVolume
        request = pb.ControllerExpandVolumeRequest(volume_id=volume.volume_id)
        request.capacity_range.required_bytes = 1500 * MIB
        for _ in range(2):
            grown = expand(request, timeout=60)
            assert (grown.capacity_bytes, grown.node_expansion_required) == (2 * GIB, True)
        request.capacity_range.required_bytes = 1
        assert expand(request, timeout=60).capacity_bytes == 2 * GIB  # never smaller
        request.volume_capability.CopyFrom(block())
        assert not expand(request, timeout=60).node_expansion_required

    def test_a_volume_larger_than_every_pool_is_resource_exhausted(self, site: Site) -> None:
        site.add_nothing(capacity_gb="10")
        error = failed(site.client.controller.CreateVolume, creation(required=10_000 * GIB))
        assert code(error) is grpc.StatusCode.RESOURCE_EXHAUSTED


class TestRepeats:
    def test_the_same_call_again_answers_the_same_volume(self, site: Site) -> None:
        driver = site.add_nothing()
        first = site.create(parameters={"csi.storage.k8s.io/pvc/name": "one"})
        again = site.create(parameters={"csi.storage.k8s.io/pvc/name": "other"})
        assert first == again
        assert driver.calls["create_volume"] == 1

    def test_the_same_name_for_something_else_already_exists(self, site: Site) -> None:
        site.add_nothing()
        site.create()
        for other in (
            creation(required=5 * GIB),
            creation(parameters={"pool": "one"}),
            creation(limit=GIB, required=GIB // 2),
        ):
            expected = "OK" if other.capacity_range.limit_bytes else "ALREADY_EXISTS"
            assert outcome(site.client.controller.CreateVolume, other) == expected

    @pytest.mark.parametrize("name", ["ü" * 64, "日本語 名前", "x" * 128])
    def test_odd_names_work_and_are_told_apart(self, site: Site, name: str) -> None:
        site.add_nothing()
        assert site.create(name).volume_id == site.create(name).volume_id
        assert site.create(name).volume_id != site.create(name[:-1]).volume_id

    def test_a_name_is_free_again_after_the_volume_is_deleted(self, site: Site) -> None:
        driver = site.add_nothing()
        site.delete(site.create())
        bigger = site.create(required=3 * GIB)
        assert bigger.capacity_bytes == 3 * GIB
        assert driver.volumes == {bigger.volume_id: 3}

    def test_deletion_of_what_is_not_there_is_fine(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        for _ in range(2):
            site.delete(volume)
        site.client.controller.DeleteVolume(pb.DeleteVolumeRequest(volume_id="never was"), timeout=60)

    def test_a_driver_that_fails_leaves_nothing_and_the_retry_succeeds(self, site: Site) -> None:
        driver = site.add_nothing(fail="create_volume:1", error="the array is on fire")
        error = failed(site.client.controller.CreateVolume, creation())
        assert code(error) is grpc.StatusCode.INTERNAL
        assert "the array is on fire" in (error.details() or "")
        assert driver.volumes == {}
        assert site.create().volume_id in driver.volumes

    def test_calls_into_the_driver_are_timed_by_operation_and_result(self, site: Site) -> None:
        site.add_nothing(name="timed", fail="create_volume:1")
        failed(site.client.controller.CreateVolume, creation())
        site.create()
        shown = site.metrics.exposition().decode()
        for result in ("ok", "error"):
            assert (
                f'backend_call_seconds_count{{backend="timed",operation="create_volume",result="{result}"}} 1.0'
                in shown
            )


class TestRaces:
    def test_two_callers_with_one_name_make_one_volume(self, site: Site) -> None:
        driver = site.add_nothing(delay=0.3)
        barrier = threading.Barrier(8)

        def create(_number: int) -> str:
            barrier.wait(60)
            return outcome(site.client.controller.CreateVolume, creation())

        with ThreadPoolExecutor(8) as pool:
            outcomes = sorted(pool.map(create, range(8)))
        assert outcomes.count("OK") >= 1
        assert set(outcomes) <= {"OK", "ABORTED"}
        assert site.create().volume_id
        assert driver.calls["create_volume"] == 1

    def test_a_second_call_on_a_busy_volume_is_aborted_at_once(self, site: Site) -> None:
        driver = site.add_nothing()
        volume = site.create()
        slow = threading.Event()
        began = threading.Event()
        plain = driver.delete_volume

        def delete_slowly(record: Any) -> None:
            began.set()
            slow.wait(60)
            plain(record)

        driver.delete_volume = delete_slowly
        with ThreadPoolExecutor(1) as pool:
            deleting = pool.submit(site.delete, volume)
            assert began.wait(60)
            request = pb.ControllerExpandVolumeRequest(
                volume_id=volume.volume_id, capacity_range=pb.CapacityRange(required_bytes=2 * GIB)
            )
            assert outcome(site.client.controller.ControllerExpandVolume, request) == "ABORTED"
            assert outcome(site.client.controller.CreateVolume, creation()) == "ABORTED"
            assert outcome(site.client.controller.ControllerPublishVolume, publication(volume, "n")) == "ABORTED"
            assert outcome(site.client.controller.CreateVolume, creation("another")) == "OK"  # others are not held up
            assert not deleting.done()
            slow.set()
            deleting.result(60)

    def test_creating_and_deleting_one_name_from_all_sides_ends_clean(self, site: Site) -> None:
        driver = site.add_nothing(delay=0.005)
        seen: set[str] = set()

        def work(number: int) -> None:
            if number % 2:
                seen.add(outcome(site.client.controller.CreateVolume, creation()))
            else:
                id = creation_id
                seen.add(outcome(site.client.controller.DeleteVolume, pb.DeleteVolumeRequest(volume_id=id)))

        creation_id = site.create().volume_id
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(64)))
        assert seen <= {"OK", "ABORTED"}
        volume = site.create()
        site.delete(volume)
        assert driver.volumes == {}


class TestOrder:
    def test_calls_on_what_does_not_exist_say_so(self, site: Site) -> None:
        site.add_nothing()
        nothing = pb.Volume(volume_id="nothing")
        controller = site.client.controller
        size = pb.CapacityRange(required_bytes=GIB)
        for call, request in (
            (controller.ControllerPublishVolume, publication(nothing, "n")),
            (controller.ControllerExpandVolume, pb.ControllerExpandVolumeRequest(volume_id="nothing", capacity_range=size)),
            (controller.ControllerGetVolume, pb.ControllerGetVolumeRequest(volume_id="nothing")),
            (controller.GetSnapshot, pb.GetSnapshotRequest(snapshot_id="nothing")),
            (controller.CreateSnapshot, pb.CreateSnapshotRequest(name="s", source_volume_id="nothing")),
            (controller.CreateVolume, creation(snapshot="nothing")),
            (controller.CreateVolume, creation(clone="nothing")),
            (controller.ValidateVolumeCapabilities,
             pb.ValidateVolumeCapabilitiesRequest(volume_id="nothing", volume_capabilities=[mount()])),
        ):  # fmt: skip
            error = failed(call, request)
            assert code(error) is NOT_FOUND, request
            assert "'nothing'" in (error.details() or "")

    def test_unpublishing_is_fine_whatever_is_gone(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        unpublish = site.client.controller.ControllerUnpublishVolume
        for volume_id, node in (
            (volume.volume_id, node_id("n")),
            (volume.volume_id, ""),
            ("nothing", ""),
            ("nothing", "gone"),
        ):
            unpublish(pb.ControllerUnpublishVolumeRequest(volume_id=volume_id, node_id=node), timeout=60)

    def test_a_published_volume_is_not_deleted(self, site: Site) -> None:
        driver = site.add_nothing()
        volume = site.create()
        site.publish(volume, "n")
        error = failed(site.client.controller.DeleteVolume, pb.DeleteVolumeRequest(volume_id=volume.volume_id))
        assert code(error) is PRECONDITION
        assert volume.volume_id in driver.volumes

    def test_an_unknown_node_is_not_found(self, site: Site) -> None:
        site.add_nothing()
        request = publication(site.create(), "n")
        request.node_id = "no-such-node"
        error = failed(site.client.controller.ControllerPublishVolume, request)
        assert code(error) is NOT_FOUND
        assert "node 'no-such-node'" in (error.details() or "")

    def test_a_node_id_that_was_tampered_with_is_an_invalid_argument(self, site: Site) -> None:
        site.add_nothing()
        request = publication(site.create(), "n")
        request.node_id = request.node_id[:-6]
        assert code(failed(site.client.controller.ControllerPublishVolume, request)) is INVALID


class TestPublish:
    def test_the_context_is_sealed_and_the_same_when_asked_again(self, site: Site) -> None:
        driver = site.add_nothing()
        volume = site.create()
        found = [Connection.from_bytes(site.sealer.open(site.publish(volume, "n")["connection"])) for _ in range(2)]
        assert found[0] == found[1]
        assert found[0].formatting is Formatting.NEVER_FORMATTED
        assert found[0].data["device_path"] == f"/nowhere/{volume.volume_id}"
        assert driver.calls["initialize_connection"] == 1
        assert "/nowhere" not in str(site.publish(volume, "n"))

    def test_a_second_node_is_told_which_one_has_the_volume(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        site.publish(volume, "first")
        error = failed(site.client.controller.ControllerPublishVolume, publication(volume, "second"))
        assert code(error) is PRECONDITION
        assert f"node 'first' (node_id '{node_id('first')}')" in (error.details() or "")

    def test_the_same_node_in_another_way_already_exists(self, site: Site) -> None:
        site.add_nothing()
        volume = site.create()
        site.publish(volume, "n")
        error = failed(site.client.controller.ControllerPublishVolume, publication(volume, "n", read_only=True))
        assert code(error) is grpc.StatusCode.ALREADY_EXISTS

    def test_shared_block_goes_to_many_nodes_and_an_empty_node_id_takes_it_from_all(self, site: Site) -> None:
        driver = site.add_nothing()
        shared = block(MODE.MULTI_NODE_MULTI_WRITER)
        volume = site.create(capability=shared)
        for host in ("a", "b", "c"):
            site.publish(volume, host, shared)
        got = site.client.controller.ControllerGetVolume(
            pb.ControllerGetVolumeRequest(volume_id=volume.volume_id), timeout=60
        )
        assert sorted(got.status.published_node_ids) == sorted(node_id(host) for host in ("a", "b", "c"))
        request = pb.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id)
        site.client.controller.ControllerUnpublishVolume(request, timeout=60)
        assert driver.mapped == set()
        assert driver.exports == set()
        site.delete(volume)


class TestBadChoices:
    @pytest.mark.parametrize("parameters", [{"backend": "no-such"}, {"pool": "no-such"}, {"type": "no-such"}])
    def test_an_unknown_back_end_pool_or_type_is_an_invalid_argument_that_names_it(
        self, site: Site, parameters: dict[str, str]
    ) -> None:
        site.add_nothing()
        error = failed(site.client.controller.CreateVolume, creation(parameters=parameters))
        assert code(error) is INVALID
        assert "no-such" in (error.details() or "")

    def test_validation_confirms_what_works_and_explains_what_does_not(self, site: Site) -> None:
        site.add_nothing(multiattach=False)
        volume = site.create()
        validate = site.client.controller.ValidateVolumeCapabilities
        request = pb.ValidateVolumeCapabilitiesRequest(
            volume_id=volume.volume_id, volume_capabilities=[mount()], volume_context=volume.volume_context
        )
        confirmed = validate(request, timeout=60)
        assert confirmed.confirmed.volume_capabilities == [mount()]
        assert confirmed.confirmed.volume_context == volume.volume_context
        request.volume_capabilities.append(block(MODE.MULTI_NODE_MULTI_WRITER))
        refused = validate(request, timeout=60)
        assert not refused.HasField("confirmed")
        assert refused.message

    def test_modify_volume_is_advertised_unless_no_back_end_can_do_it(self, site: Site) -> None:
        def is_offered() -> bool:
            answer = site.client.controller.ControllerGetCapabilities(pb.ControllerGetCapabilitiesRequest(), timeout=60)
            kinds = {item.rpc.type for item in answer.capabilities}
            return pb.ControllerServiceCapability.RPC.MODIFY_VOLUME in kinds

        assert is_offered()  # a back end may be added
        site.add_nothing()
        assert not is_offered()
        site.add_nothing(driver=RETYPING)
        assert is_offered()

    def test_a_volume_of_a_back_end_that_cannot_modify_is_an_invalid_argument(self, site: Site) -> None:
        site.add_nothing(name="plain")
        volume = site.create()
        request = pb.ControllerModifyVolumeRequest(volume_id=volume.volume_id, mutable_parameters={"qos/maxIOPS": "5"})
        error = failed(site.client.controller.ControllerModifyVolume, request)
        assert code(error) is INVALID
        assert "back end 'plain' cannot change volume" in (error.details() or "")

    def test_a_volume_is_modified_and_an_unknown_volume_is_not_found(self, site: Site) -> None:
        driver = site.add_nothing(driver=RETYPING)
        volume = site.create()
        request = pb.ControllerModifyVolumeRequest(volume_id=volume.volume_id, mutable_parameters={"qos/maxIOPS": "5"})
        modify = site.client.controller.ControllerModifyVolume
        assert outcome(modify, request) == outcome(modify, request) == "OK"
        assert driver.properties[volume.volume_id] == {"qos/maxIOPS": "5"}
        request.volume_id = "unknown"
        assert outcome(modify, request) == "NOT_FOUND"

    def test_a_volume_says_from_where_it_is_reached(self, site: Site) -> None:
        site.add_nothing(topology={"zone": "a"})
        request = creation()
        request.accessibility_requirements.requisite.add(segments={"zone": "a"})
        volume = site.client.controller.CreateVolume(request, timeout=60).volume
        assert [dict(item.segments) for item in volume.accessible_topology] == [{"zone": "a"}]
        request.name = "elsewhere"
        request.accessibility_requirements.requisite[0].segments["zone"] = "b"
        assert outcome(site.client.controller.CreateVolume, request) in ("RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
