"""A node's volumes in small files, some of them on a share perhaps, as the kubelet handles them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.host import kernel, loopctl, mounts
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.sealing import Sealer
from tests.support.repeating import until

SIZE = 32 << 20
TIMEOUT = 60.0
MOUNTED = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)


class Site:
    """The volumes' directories are below `base`. A volume's id is the name of its file."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def file(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(SIZE)

    def path(self, kind: str, volume_id: str) -> str:
        path = self.base / kind / volume_id
        path.parent.mkdir(exist_ok=True)
        return str(path)

    def stage(self, node: Any, file: Path) -> None:
        self.begin_staging(node, file).result()

    def begin_staging(self, node: Any, file: Path) -> grpc.CallFuture[csi_pb2.NodeStageVolumeResponse]:
        """Without waiting for the answer."""
        connection = Connection(
            volume_id=file.name,
            attachment="a@1",
            protocol="local",
            data={"device_path": str(file)},
            size=Bytes(SIZE),
            formatting=Formatting.NEVER_FORMATTED,
            fs_type="ext4",
        )
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=file.name,
            staging_target_path=self.path("staged", file.name),
            volume_capability=MOUNTED,
            publish_context={"connection": Sealer().seal(connection.to_bytes())},
        )
        call: grpc.CallFuture[csi_pb2.NodeStageVolumeResponse] = node.NodeStageVolume.future(request, timeout=TIMEOUT)
        return call

    def publish(self, node: Any, volume_id: str) -> None:
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume_id,
            staging_target_path=self.path("staged", volume_id),
            target_path=self.path("pods", volume_id),
            volume_capability=MOUNTED,
        )
        node.NodePublishVolume(request, timeout=TIMEOUT)

    def unpublish(self, node: Any, volume_id: str) -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=self.path("pods", volume_id))
        node.NodeUnpublishVolume(request, timeout=TIMEOUT)

    def unstage(self, node: Any, volume_id: str) -> None:
        request = csi_pb2.NodeUnstageVolumeRequest(
            volume_id=volume_id, staging_target_path=self.path("staged", volume_id)
        )
        node.NodeUnstageVolume(request, timeout=TIMEOUT)

    def is_abnormal(self, node: Any, volume_id: str) -> bool:
        return bool(self.condition(node, volume_id).abnormal)

    def condition(self, node: Any, volume_id: str, *, timeout: float = TIMEOUT) -> csi_pb2.VolumeCondition:
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=self.path("staged", volume_id))
        answer: csi_pb2.NodeGetVolumeStatsResponse = node.NodeGetVolumeStats(request, timeout=timeout)
        assert answer.usage, "the kubelet takes no notice of a condition without"
        return answer.volume_condition

    def detach(self, *, besides: Path | None = None) -> None:
        """Take all mounts out of sight, whether what is mounted answers or not."""
        for item in reversed(mounts.table()):
            if item.target.startswith(f"{self.base}/") and item.target != str(besides):
                mounts.unmount(item.target, lazy=True)

    def clear(self) -> None:
        """Free the loop devices of the files, whether those answer or not."""
        for number, shown in loopctl.attached().items():
            if shown.startswith(f"{self.base}/"):
                with suppress(OSError), kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:  # it may go by itself
                    loopctl.clear(fd)
        until(lambda: not any(shown.startswith(f"{self.base}/") for shown in loopctl.attached().values()))


def repeated(step: Any, node: Any, volume_id: str) -> None:
    """As the kubelet does. On a busy machine somebody may look at a loop device in the very moment in which it is to go."""
    until(lambda: code(step, node, volume_id) is grpc.StatusCode.OK)


def code(step: Any, node: Any, volume_id: str) -> grpc.StatusCode:
    try:
        step(node, volume_id)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def waiting(pid: int) -> int:
    """The threads of a process that wait for a FUSE server."""
    return sum("request_wait_answer" in _stack(thread) for thread in Path(f"/proc/{pid}/task").iterdir())


def _stack(thread: Path) -> str:
    """In the kernel; "" for a thread that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (thread / "stack").read_text()
    return ""
