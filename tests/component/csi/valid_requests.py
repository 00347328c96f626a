"""For each call that takes anything, the least that is a valid request."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.message import Message

from csi_cinderlib.csi.v1 import csi_pb2 as pb

MODE = pb.VolumeCapability.AccessMode


def mount(
    fs_type: str = "ext4", *flags: str, mode: int = MODE.SINGLE_NODE_WRITER, group: str = ""
) -> pb.VolumeCapability:
    volume = pb.VolumeCapability.MountVolume(fs_type=fs_type, mount_flags=flags, volume_mount_group=group)
    return pb.VolumeCapability(mount=volume, access_mode=MODE(mode=cast("Any", mode)))


def block(mode: int = MODE.SINGLE_NODE_WRITER) -> pb.VolumeCapability:
    return pb.VolumeCapability(block=pb.VolumeCapability.BlockVolume(), access_mode=MODE(mode=cast("Any", mode)))


VALID: dict[str, Message] = {
    "CreateVolume": pb.CreateVolumeRequest(name="v", volume_capabilities=[mount()]),
    "DeleteVolume": pb.DeleteVolumeRequest(volume_id="v"),
    "ControllerPublishVolume": pb.ControllerPublishVolumeRequest(volume_id="v", node_id="n", volume_capability=mount()),
    "ControllerUnpublishVolume": pb.ControllerUnpublishVolumeRequest(volume_id="v"),
    "ValidateVolumeCapabilities": pb.ValidateVolumeCapabilitiesRequest(volume_id="v", volume_capabilities=[mount()]),
    "ListVolumes": pb.ListVolumesRequest(),
    "GetCapacity": pb.GetCapacityRequest(),
    "CreateSnapshot": pb.CreateSnapshotRequest(name="s", source_volume_id="v"),
    "DeleteSnapshot": pb.DeleteSnapshotRequest(snapshot_id="s"),
    "ListSnapshots": pb.ListSnapshotsRequest(),
    "GetSnapshot": pb.GetSnapshotRequest(snapshot_id="s"),
    "ControllerExpandVolume": pb.ControllerExpandVolumeRequest(
        volume_id="v", capacity_range=pb.CapacityRange(required_bytes=1)
    ),
    "ControllerModifyVolume": pb.ControllerModifyVolumeRequest(volume_id="v", mutable_parameters={"qos/maxIOPS": "5"}),
    "ControllerGetVolume": pb.ControllerGetVolumeRequest(volume_id="v"),
    "CreateVolumeGroupSnapshot": pb.CreateVolumeGroupSnapshotRequest(name="g", source_volume_ids=["v", "w"]),
    "DeleteVolumeGroupSnapshot": pb.DeleteVolumeGroupSnapshotRequest(group_snapshot_id="g", snapshot_ids=["s"]),
    "GetVolumeGroupSnapshot": pb.GetVolumeGroupSnapshotRequest(group_snapshot_id="g", snapshot_ids=["s"]),
    "NodeStageVolume": pb.NodeStageVolumeRequest(volume_id="v", staging_target_path="/s", volume_capability=mount()),
    "NodeUnstageVolume": pb.NodeUnstageVolumeRequest(volume_id="v", staging_target_path="/s"),
    "NodePublishVolume": pb.NodePublishVolumeRequest(
        volume_id="v", staging_target_path="/s", target_path="/t", volume_capability=mount()
    ),
    "NodeUnpublishVolume": pb.NodeUnpublishVolumeRequest(volume_id="v", target_path="/t"),
    "NodeGetVolumeStats": pb.NodeGetVolumeStatsRequest(volume_id="v", volume_path="/t"),
    "NodeExpandVolume": pb.NodeExpandVolumeRequest(volume_id="v", volume_path="/t"),
}
