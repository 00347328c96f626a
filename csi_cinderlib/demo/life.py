"""The life of a volume through the CSI socket, driven as by an orchestrator and a kubelet."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.report import Report
from csi_cinderlib.errors import PreconditionFailed
from csi_cinderlib.model.encryption import ENCRYPTION, LUKS2
from csi_cinderlib.model.size import BYTES_PER_GIB

DATA = 16 * 1024**2
SINGLE_NODE_WRITER = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER


@dataclass(frozen=True, slots=True)
class Attached:
    """A volume in use on this node.

    Attributes:
        target: the mounted directory, or the block device.
    """

    volume_id: str
    staging: Path
    target: Path


class Life:
    """One volume with its snapshot, restore and clone.

    Args:
        kind: "block", or the file system.
        grows_in_use: whether to grow it while it is in use, or between two attachments.
        passphrase: the key of an encrypted volume; "" for a volume in plain.
    """

    def __init__(
        self, channel: grpc.Channel, root: Path, report: Report, *, kind: str, grows_in_use: bool, passphrase: str = ""
    ) -> None:
        self._controller = csi_pb2_grpc.ControllerStub(channel)
        self._node = csi_pb2_grpc.NodeStub(channel)
        self._root = root
        self._report = report
        self._kind = kind
        self._grows_in_use = grows_in_use
        self._parameters = {ENCRYPTION: LUKS2} if passphrase else {}
        self._secrets = {"passphrase": passphrase} if passphrase else {}
        mode = csi_pb2.VolumeCapability.AccessMode(mode=SINGLE_NODE_WRITER)
        if kind == "block":
            self._capability = csi_pb2.VolumeCapability(access_mode=mode, block=csi_pb2.VolumeCapability.BlockVolume())
        else:
            mount = csi_pb2.VolumeCapability.MountVolume(fs_type=kind)
            self._capability = csi_pb2.VolumeCapability(access_mode=mode, mount=mount)
        self._node_id = self._node.NodeGetInfo(csi_pb2.NodeGetInfoRequest()).node_id

    def live(self) -> None:
        """Run all steps. Raises PreconditionFailed for wrong data or sizes."""
        volume = self._create("demo", 1)
        used = self._attach(volume, "demo")
        first = self._write(used, "write 16 MiB")
        snapshot = self._snapshot(volume, "demo-snapshot")
        second = self._write(used, "overwrite it with other data")
        self._restored(csi_pb2.VolumeContentSource(snapshot=_from_snapshot(snapshot)), "restore", first, gib=2)
        self._restored(csi_pb2.VolumeContentSource(volume=_from_volume(volume)), "clone", second, gib=1)
        used = self._grow(used, 2)
        self._check(used, second, 2)
        self._detach(used)
        with self._report.step("delete the snapshot"):
            self._controller.DeleteSnapshot(csi_pb2.DeleteSnapshotRequest(snapshot_id=snapshot))
        self._delete(volume)

    def _restored(self, source: csi_pb2.VolumeContentSource, name: str, checksum: str, *, gib: int) -> None:
        volume = self._create(name, gib, source)
        used = self._attach(volume, name)
        self._check(used, checksum, gib)
        self._detach(used)
        self._delete(volume)

    def _create(self, name: str, gib: int, source: csi_pb2.VolumeContentSource | None = None) -> str:
        origin = "" if source is None else f" from the {'snapshot' if source.HasField('snapshot') else 'volume'}"
        with self._report.step(f"create a volume of {gib} GiB{origin}") as step:
            request = csi_pb2.CreateVolumeRequest(
                name=f"{name}-{self._kind}",
                capacity_range=csi_pb2.CapacityRange(required_bytes=gib * BYTES_PER_GIB),
                volume_capabilities=[self._capability],
                volume_content_source=source,
                parameters=self._parameters,
            )
            volume = self._controller.CreateVolume(request).volume
            step.note = volume.volume_id
        return volume.volume_id

    def _attach(self, volume_id: str, name: str) -> Attached:
        """Act as the attacher and the kubelet, which creates the staging directory and the target's parent."""
        used = Attached(volume_id, self._root / "staging" / name, self._root / "pods" / name / "volume")
        used.staging.mkdir(parents=True, exist_ok=True)
        used.target.parent.mkdir(parents=True, exist_ok=True)
        with self._report.step("publish it to this node"):
            context = self._controller.ControllerPublishVolume(
                csi_pb2.ControllerPublishVolumeRequest(
                    volume_id=volume_id, node_id=self._node_id, volume_capability=self._capability
                )
            ).publish_context
        with self._report.step("stage it: attach the device" + ("" if self._kind == "block" else f", {self._kind}")):
            self._node.NodeStageVolume(
                csi_pb2.NodeStageVolumeRequest(
                    volume_id=volume_id,
                    publish_context=context,
                    staging_target_path=str(used.staging),
                    volume_capability=self._capability,
                    secrets=self._secrets,
                )
            )
        with self._report.step("publish the device to the pod" if self._kind == "block" else "mount it for the pod"):
            self._node.NodePublishVolume(
                csi_pb2.NodePublishVolumeRequest(
                    volume_id=volume_id,
                    publish_context=context,
                    staging_target_path=str(used.staging),
                    target_path=str(used.target),
                    volume_capability=self._capability,
                )
            )
        return used

    def _detach(self, used: Attached) -> None:
        with self._report.step("unmount, unstage, unpublish"):
            self._node.NodeUnpublishVolume(
                csi_pb2.NodeUnpublishVolumeRequest(volume_id=used.volume_id, target_path=str(used.target))
            )
            self._node.NodeUnstageVolume(
                csi_pb2.NodeUnstageVolumeRequest(volume_id=used.volume_id, staging_target_path=str(used.staging))
            )
            self._controller.ControllerUnpublishVolume(
                csi_pb2.ControllerUnpublishVolumeRequest(volume_id=used.volume_id, node_id=self._node_id)
            )

    def _delete(self, volume_id: str) -> None:
        with self._report.step("delete the volume"):
            self._controller.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=volume_id))

    def _snapshot(self, volume_id: str, name: str) -> str:
        with self._report.step("take a snapshot while it is in use") as step:
            request = csi_pb2.CreateSnapshotRequest(source_volume_id=volume_id, name=f"{name}-{self._kind}")
            snapshot = self._controller.CreateSnapshot(request).snapshot
            step.note = snapshot.snapshot_id
            if not snapshot.ready_to_use:
                raise PreconditionFailed("the snapshot is not ready to use")
        return snapshot.snapshot_id

    def _grow(self, used: Attached, gib: int) -> Attached:
        if not self._grows_in_use:
            self._detach(used)
        with self._report.step(f"grow it to {gib} GiB" + (" in use" if self._grows_in_use else "")):
            answer = self._controller.ControllerExpandVolume(
                csi_pb2.ControllerExpandVolumeRequest(
                    volume_id=used.volume_id,
                    capacity_range=csi_pb2.CapacityRange(required_bytes=gib * BYTES_PER_GIB),
                    volume_capability=self._capability,
                )
            )
        if not self._grows_in_use:
            return self._attach(used.volume_id, "demo")
        if answer.node_expansion_required:
            with self._report.step("expand it on the node"):
                self._node.NodeExpandVolume(
                    csi_pb2.NodeExpandVolumeRequest(
                        volume_id=used.volume_id,
                        volume_path=str(used.target),
                        staging_target_path=str(used.staging),
                        volume_capability=self._capability,
                    )
                )
        return used

    def _write(self, used: Attached, title: str) -> str:
        """Write random bytes to the disk; returns their checksum."""
        with self._report.step(title) as step:
            data = os.urandom(DATA)
            with self._file(used).open("r+b" if self._kind == "block" else "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            checksum = hashlib.sha256(data).hexdigest()
            step.note = f"sha256 {checksum[:16]}"
        return checksum

    def _check(self, used: Attached, checksum: str, gib: int) -> None:
        with self._report.step("verify the data and the size") as step:
            with self._file(used).open("rb") as file:
                found = hashlib.sha256(file.read(DATA)).hexdigest()
                size = file.seek(0, os.SEEK_END) if self._kind == "block" else _total(used.target)
            if found != checksum:
                raise PreconditionFailed(f"wrong data: sha256 {found[:16]}, expected {checksum[:16]}")
            if not 0.9 * gib * BYTES_PER_GIB <= size <= gib * BYTES_PER_GIB:  # a file system uses some space itself
                raise PreconditionFailed(f"wrong size: {size / BYTES_PER_GIB:.2f} GiB, expected {gib} GiB")
            step.note = f"sha256 {found[:16]}, {size / BYTES_PER_GIB:.2f} GiB"

    def _file(self, used: Attached) -> Path:
        return used.target if self._kind == "block" else used.target / "data"


def _total(path: Path) -> int:
    numbers = os.statvfs(path)
    return numbers.f_frsize * numbers.f_blocks


def _from_snapshot(id: str) -> csi_pb2.VolumeContentSource.SnapshotSource:
    return csi_pb2.VolumeContentSource.SnapshotSource(snapshot_id=id)


def _from_volume(id: str) -> csi_pb2.VolumeContentSource.VolumeSource:
    return csi_pb2.VolumeContentSource.VolumeSource(volume_id=id)
