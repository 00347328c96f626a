"""Every field of every request, given wrongly: the right code, the field named, and nothing behind the edge reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from csi_cinderlib.csi.controller import Controller
from csi_cinderlib.csi.group_controller import GroupController
from csi_cinderlib.csi.node import Node
from csi_cinderlib.csi.v1 import csi_pb2 as pb
from csi_cinderlib.errors import ResourceExhausted
from tests.component.csi.harness import Running, Serve, code, failed
from tests.component.csi.valid_requests import MODE, VALID, block, mount

BAD, RANGE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
REACHED = "the request came through"
TOO_LONG = "ü" * 65  # 130 bytes
BIG_MAP = {f"key{index}": "x" * 100 for index in range(50)}


class Behind:
    """Whatever is called here, the request was found valid."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_args: object, **_options: object) -> Any:
            raise ResourceExhausted(REACHED)

        return call


@dataclass(frozen=True)
class Case:
    """A call with one field changed (None clears it), the code, and what the message must name."""

    call: str
    field: str
    value: object
    named: str = ""
    code: grpc.StatusCode = BAD

    def __str__(self) -> str:
        return f"{self.call}.{self.field}={str(self.value)[:40]!r}"

    def request(self) -> Message:
        request = type(VALID[self.call])()
        request.CopyFrom(VALID[self.call])
        request.ClearField(self.field)
        if isinstance(self.value, Message):
            getattr(request, self.field).CopyFrom(self.value)
        elif isinstance(self.value, dict):
            getattr(request, self.field).update(self.value)
        elif isinstance(self.value, list):
            getattr(request, self.field).extend(self.value)
        elif self.value is not None:
            setattr(request, self.field, self.value)
        return request


def ids(call: str, field: str, *, required: bool = True, limit: int = 128) -> Iterator[Case]:
    if required:
        yield Case(call, field, "")
    yield Case(call, field, "x" * (limit + 1))
    yield Case(call, field, "a\0b")


def names(call: str) -> Iterator[Case]:
    for value in ("", TOO_LONG, "bell\a", "delete\x7f", "c1\x85"):
        yield Case(call, "name", value)


def maps(call: str, *fields: str) -> Iterator[Case]:
    for field in fields:
        yield Case(call, field, BIG_MAP)
        yield Case(call, field, {"": "x"})


def paths(call: str, field: str, *, required: bool = True, relative: bool = True) -> Iterator[Case]:
    wrong = ["/a/../b", "/new\nline", "/x" * 2048, "/", f"/a/{'x' * 256}", f"/a/{'ü' * 128}/b"]
    for value in wrong + ([""] if required else []) + (["relative/path"] if relative else []):
        yield Case(call, field, value)


WRONG_CAPABILITIES: list[tuple[pb.VolumeCapability, str]] = [
    (pb.VolumeCapability(), ""),
    (pb.VolumeCapability(access_mode=MODE(mode=MODE.SINGLE_NODE_WRITER)), "access type"),
    (pb.VolumeCapability(block=pb.VolumeCapability.BlockVolume()), "access_mode.mode"),
    (mount(mode=MODE.UNKNOWN), "access_mode.mode"),
    (mount("ntfs"), "mount.fs_type: unsupported file system 'ntfs'; supported: ext4, xfs, btrfs"),
    (mount("ext4", "bind"), "mount_flags: not allowed: bind"),
    (mount("ext4", "noatime,remount"), "mount_flags: not allowed: remount"),
    (mount("ext4", "rshared"), "mount_flags: not allowed: rshared"),
    (mount("ext4", "loop=/dev/loop3"), "mount_flags: not allowed: loop"),
    (
        mount("btrfs", "device=/dev/sdb"),
        "mount_flags: not allowed: device; a volume cannot use other devices of a node",
    ),
    (mount("ext4", "noatime,journal_path=/dev/sdb"), "mount_flags: not allowed: journal_path"),
    (mount("ext4", "journal_dev=0x801"), "mount_flags: not allowed: journal_dev"),
    (mount("xfs", "logdev=/dev/sdb", "rtdev=/dev/sdc"), "mount_flags: not allowed: logdev, rtdev"),
    (mount("ext4", "ro", "noload"), "mount_flags: not allowed: noload; files on stable storage would be missing"),
    (mount("xfs", "ro,norecovery"), "mount_flags: not allowed: norecovery"),
    (mount("ext4", "sb=131072"), "mount_flags: not allowed: sb"),
    (mount("btrfs", "rescue=nologreplay"), "mount_flags: not allowed: rescue"),
    (mount("btrfs", "nologreplay", "usebackuproot"), "mount_flags: not allowed: nologreplay, usebackuproot"),
    (mount("ext4", "ro", "rw"), "mount_flags"),
    (mount("ext4", "-o"), "mount_flags[0]"),
    (mount("ext4", "noatime", " "), "mount_flags[1]"),
    (mount("ext4", "a\nb"), "mount_flags[0]"),
    (mount("ext4", *["x" * 100] * 50), "mount_flags"),
    (mount(group="1000"), "volume_mount_group"),
    (mount(mode=MODE.MULTI_NODE_MULTI_WRITER), "access_mode: unsupported access mode MULTI_NODE_MULTI_WRITER"),
    (mount(mode=MODE.MULTI_NODE_SINGLE_WRITER), "access_mode: unsupported access mode MULTI_NODE_SINGLE_WRITER"),
    (mount(mode=99), "99"),
]


def capabilities(call: str, field: str = "volume_capabilities") -> Iterator[Case]:
    for wrong, named in WRONG_CAPABILITIES:
        yield Case(call, field, [block(), wrong], named or f"{field}[1]")


def capability(call: str, *, required: bool = True) -> Iterator[Case]:
    if required:
        yield Case(call, "volume_capability", None)
    for wrong, named in WRONG_CAPABILITIES:
        yield Case(call, "volume_capability", wrong, named or "volume_capability")


def sizes(call: str) -> Iterator[Case]:
    size = pb.CapacityRange
    yield Case(call, "capacity_range", size(required_bytes=-1), "capacity_range.required_bytes")
    yield Case(call, "capacity_range", size(limit_bytes=-1), "capacity_range.limit_bytes")
    yield Case(call, "capacity_range", size(required_bytes=2, limit_bytes=1), "capacity_range.limit_bytes", RANGE)
    yield Case(call, "capacity_range", size(required_bytes=2**63 - 1), "capacity_range.required_bytes", RANGE)


def class_parameters(call: str) -> Iterator[Case]:
    for wrong, named in [
        ({"bakend": "x"}, "'bakend'; did you mean 'backend'?"),
        ({"colour": "red"}, "supported: backend"),
        ({"extraSpecs/": "x"}, "parameters[extraSpecs/]"),
        ({"qos/": "x"}, "parameters[qos/]"),
        ({"mkfsOptions": "-L 'open"}, "parameters[mkfsOptions]"),
        ({"mkfsOptions": "-L 'a\0b'"}, "parameters[mkfsOptions]: must not contain a NUL character"),
        ({"mkfsOptions": "-E x -F"}, "parameters[mkfsOptions]: not allowed: -F"),
        ({"mkfsOptions": "/dev/sda"}, "parameters[mkfsOptions]: must not name a device (got '/dev/sda')"),
        ({"mkfsOptions": "--bogus"}, "parameters[mkfsOptions]: option"),
        ({"mkfsOptions": "-qF"}, "parameters[mkfsOptions]: option -F not recognized"),
        ({"mkfsOptions": "-d /root"}, "parameters[mkfsOptions]: "),
        (
            {"csi.storage.k8s.io/fstype": "ntfs"},
            "parameters[csi.storage.k8s.io/fstype]: unsupported file system 'ntfs'",
        ),
    ]:
        yield Case(call, "parameters", wrong, named)


def topologies(segments: Callable[[dict[str, str]], object], call: str, field: str) -> Iterator[Case]:
    for wrong in ({"bad key": "z"}, {"-x": "z"}, {"x" * 64: "z"}, {"p" * 64 + "/zone": "z"}, {"zone": "z" * 64}, {"zone": ""},
                  {"Zone": "a", "zone": "b"}):  # fmt: skip
        yield Case(call, field, segments(wrong), field)


def requirement(segments: dict[str, str]) -> pb.TopologyRequirement:
    return pb.TopologyRequirement(requisite=[pb.Topology(segments={"zone": "a"}), pb.Topology(segments=segments)])


SOURCE = pb.VolumeContentSource
CASES: list[Case] = [
    *names("CreateVolume"),
    *sizes("CreateVolume"),
    Case("CreateVolume", "volume_capabilities", []),
    *capabilities("CreateVolume"),
    *class_parameters("CreateVolume"),
    *maps("CreateVolume", "parameters", "secrets", "mutable_parameters"),
    Case("CreateVolume", "mutable_parameters", {"backend": "x"}, "'backend'"),
    Case("CreateVolume", "volume_content_source", SOURCE(), "volume_content_source"),
    Case("CreateVolume", "volume_content_source", SOURCE(snapshot=SOURCE.SnapshotSource()), "snapshot.snapshot_id"),
    Case("CreateVolume", "volume_content_source", SOURCE(volume=SOURCE.VolumeSource()), "volume.volume_id"),
    Case(
        "CreateVolume",
        "volume_content_source",
        SOURCE(volume=SOURCE.VolumeSource(volume_id=TOO_LONG)),
        "volume.volume_id",
    ),
    Case("CreateVolume", "accessibility_requirements", requirement({}), "accessibility_requirements.requisite[1]"),
    *topologies(requirement, "CreateVolume", "accessibility_requirements"),
    *ids("ControllerModifyVolume", "volume_id"),
    *maps("ControllerModifyVolume", "secrets", "mutable_parameters"),
    Case("ControllerModifyVolume", "mutable_parameters", {}),
    Case("ControllerModifyVolume", "mutable_parameters", {"backend": "x"}, "'backend'"),
    *ids("DeleteVolume", "volume_id"),
    *maps("DeleteVolume", "secrets"),
    *ids("ControllerPublishVolume", "volume_id"),
    *ids("ControllerPublishVolume", "node_id", limit=256),
    *capability("ControllerPublishVolume"),
    *maps("ControllerPublishVolume", "secrets", "volume_context"),
    *ids("ControllerUnpublishVolume", "volume_id"),
    *ids("ControllerUnpublishVolume", "node_id", required=False, limit=256),
    *maps("ControllerUnpublishVolume", "secrets"),
    *ids("ValidateVolumeCapabilities", "volume_id"),
    Case("ValidateVolumeCapabilities", "volume_capabilities", []),
    Case("ValidateVolumeCapabilities", "volume_capabilities", [pb.VolumeCapability()], "volume_capabilities[0]"),
    *class_parameters("ValidateVolumeCapabilities"),
    *maps("ValidateVolumeCapabilities", "volume_context", "parameters", "secrets", "mutable_parameters"),
    Case("ListVolumes", "max_entries", -1),
    *capabilities("GetCapacity"),
    *class_parameters("GetCapacity"),
    *maps("GetCapacity", "parameters"),
    *topologies(lambda wrong: pb.Topology(segments=wrong), "GetCapacity", "accessible_topology"),
    *names("CreateSnapshot"),
    *ids("CreateSnapshot", "source_volume_id"),
    *maps("CreateSnapshot", "secrets", "parameters"),
    Case("CreateSnapshot", "parameters", {"colour": "red"}, "'colour'"),
    *ids("DeleteSnapshot", "snapshot_id"),
    *maps("DeleteSnapshot", "secrets"),
    Case("ListSnapshots", "max_entries", -1),
    *ids("ListSnapshots", "snapshot_id", required=False),
    *ids("ListSnapshots", "source_volume_id", required=False),
    *maps("ListSnapshots", "secrets"),
    *ids("GetSnapshot", "snapshot_id"),
    *maps("GetSnapshot", "secrets"),
    *ids("ControllerExpandVolume", "volume_id"),
    *sizes("ControllerExpandVolume"),
    Case("ControllerExpandVolume", "capacity_range", None),
    Case("ControllerExpandVolume", "capacity_range", pb.CapacityRange()),
    *capability("ControllerExpandVolume", required=False),
    *maps("ControllerExpandVolume", "secrets"),
    *ids("ControllerGetVolume", "volume_id"),
    *names("CreateVolumeGroupSnapshot"),
    Case("CreateVolumeGroupSnapshot", "source_volume_ids", []),
    Case("CreateVolumeGroupSnapshot", "source_volume_ids", ["a", ""], "source_volume_ids[1]"),
    Case("CreateVolumeGroupSnapshot", "source_volume_ids", ["a", "a"], "source_volume_ids[1]"),
    *maps("CreateVolumeGroupSnapshot", "secrets", "parameters"),
    *ids("DeleteVolumeGroupSnapshot", "group_snapshot_id"),
    Case("DeleteVolumeGroupSnapshot", "snapshot_ids", [TOO_LONG], "snapshot_ids[0]"),
    *maps("DeleteVolumeGroupSnapshot", "secrets"),
    *ids("GetVolumeGroupSnapshot", "group_snapshot_id"),
    Case("GetVolumeGroupSnapshot", "snapshot_ids", ["s", "s"], "snapshot_ids[1]"),
    *maps("GetVolumeGroupSnapshot", "secrets"),
    *ids("NodeStageVolume", "volume_id"),
    *paths("NodeStageVolume", "staging_target_path"),
    *capability("NodeStageVolume"),
    *maps("NodeStageVolume", "publish_context", "volume_context", "secrets"),
    *ids("NodeUnstageVolume", "volume_id"),
    *paths("NodeUnstageVolume", "staging_target_path"),
    *ids("NodePublishVolume", "volume_id"),
    *paths("NodePublishVolume", "staging_target_path", required=False),
    Case("NodePublishVolume", "staging_target_path", "", code=PRECONDITION),
    *paths("NodePublishVolume", "target_path"),
    Case("NodePublishVolume", "target_path", "/s/"),
    *capability("NodePublishVolume"),
    *maps("NodePublishVolume", "publish_context", "volume_context", "secrets"),
    *ids("NodeUnpublishVolume", "volume_id"),
    *paths("NodeUnpublishVolume", "target_path"),
    *ids("NodeGetVolumeStats", "volume_id"),
    *paths("NodeGetVolumeStats", "volume_path", relative=False),
    *paths("NodeGetVolumeStats", "staging_target_path", required=False),
    *ids("NodeExpandVolume", "volume_id"),
    *paths("NodeExpandVolume", "volume_path", relative=False),
    *paths("NodeExpandVolume", "staging_target_path", required=False),
    *sizes("NodeExpandVolume"),
    *capability("NodeExpandVolume", required=False),
    *maps("NodeExpandVolume", "secrets"),
]
ANYTHING_GOES = {
    "ControllerPublishVolume.readonly": "either value means something",
    "NodePublishVolume.readonly": "either value means something",
    "ListVolumes.starting_token": "whether a token is ours is for the list to say: ABORTED",
    "ListSnapshots.starting_token": "whether a token is ours is for the list to say: ABORTED",
}
SERVICE_OF = {
    method.name: service.name for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods
}


@pytest.fixture
def edge(serve: Serve) -> Running:
    behind: Any = Behind()
    node = Node(behind, behind, behind, behind, node_id="n")
    return serve(Controller(behind, behind, behind), GroupController(behind), node)


def stub(running: Running, call: str) -> Any:
    clients = {
        "Controller": running.client.controller,
        "GroupController": running.client.group,
        "Node": running.client.node,
    }
    return getattr(clients[SERVICE_OF[call]], call)


def test_every_field_of_every_request_is_in_the_table() -> None:
    requests = {
        method.name: method.input_type
        for name in ("Controller", "GroupController", "Node")
        for method in pb.DESCRIPTOR.services_by_name[name].methods
    }
    fields = {f"{call}.{field.name}" for call, message in requests.items() for field in message.fields}
    tried = {f"{case.call}.{case.field}" for case in CASES}
    assert sorted(fields - tried - set(ANYTHING_GOES)) == []


@pytest.mark.parametrize("call", VALID)
def test_the_least_valid_request_of_each_call_comes_through(edge: Running, call: str) -> None:
    error = failed(stub(edge, call), VALID[call])
    assert (code(error), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, REACHED)


def test_every_wrong_field_is_refused_with_its_code_and_name(edge: Running) -> None:
    """One test over one server: 370 servers would take longer to start than the requests to send."""
    wrong = []
    for case in CASES:
        error = failed(stub(edge, case.call), case.request())
        said = error.details() or ""
        if code(error) is not case.code or (case.named or case.field) not in said:
            wrong.append(f"{case}: {code(error).name} {said[:200]}")
    assert wrong == []
    assert len(CASES) > 300


def test_validating_an_unsupported_capability_is_no_error_once_the_volume_is_known(serve: Serve) -> None:
    class Known(Behind):
        def get(self, volume_id: str) -> str:
            return volume_id

    behind: Any = Known()
    running = serve(Controller(behind, behind, behind))
    for wrong, named in (
        (mount("ntfs"), "ntfs"),
        (mount(mode=99), "99"),
        (mount(mode=MODE.MULTI_NODE_MULTI_WRITER), "MULTI_NODE"),
    ):
        request = pb.ValidateVolumeCapabilitiesRequest(volume_id="v", volume_capabilities=[wrong])
        answer = running.client.controller.ValidateVolumeCapabilities(request)
        assert not answer.HasField("confirmed")
        assert named in answer.message


@pytest.mark.parametrize("name", ["ü" * 64, "日本" * 21, "with space", "line\nbreak", "a/b", "x" * 128])
def test_names_of_up_to_128_bytes_of_any_letters_come_through(edge: Running, name: str) -> None:
    request = pb.CreateVolumeRequest(name=name, volume_capabilities=[mount()])
    assert failed(edge.client.controller.CreateVolume, request).details() == REACHED


@pytest.mark.parametrize("mode", [value for value in MODE.Mode.values() if value])
def test_every_access_mode_comes_through_for_block(edge: Running, mode: int) -> None:
    request = pb.CreateVolumeRequest(name="v", volume_capabilities=[block(mode)])
    assert failed(edge.client.controller.CreateVolume, request).details() == REACHED


def test_selinux_flags_and_sidecars_own_keys_come_through(edge: Running) -> None:
    request = pb.CreateVolumeRequest(
        name="v",
        volume_capabilities=[mount("xfs", 'context="system_u:object_r:container_file_t:s0:c1,c2"', "noatime")],
        parameters={
            "csi.storage.k8s.io/pvc/name": "p",
            "csi.storage.k8s.io/provisioner-secret-name": "s",
            "fstype": "xfs",
        },
        capacity_range=pb.CapacityRange(required_bytes=0),
        accessibility_requirements=pb.TopologyRequirement(),
    )
    assert failed(edge.client.controller.CreateVolume, request).details() == REACHED
