"""A node with a share that hangs: it starts, serves its other volumes, and can be killed and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent import futures
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import kernel, loopctl, mounts
from csi_cinderlib.host.processes import Process, is_over
from csi_cinderlib.model.connection import Connection, Formatting
from csi_cinderlib.model.size import Bytes
from csi_cinderlib.sealing import Sealer
from tests.program.serve.conftest import Start, until
from tests.program.serve.test_health import Health
from tests.program.serve.test_metrics_are_scraped import free_port
from tests.support.fuse_share import Share, shared

pytestmark = pytest.mark.root
SIZE = 32 << 20
TIMEOUT = 60
MOUNTED = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)


class Site:
    """Volumes of a node, as the kubelet handles them."""

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
        node.NodeStageVolume(request, timeout=TIMEOUT)

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
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=self.path("staged", volume_id))
        answer = node.NodeGetVolumeStats(request, timeout=TIMEOUT)
        assert answer.usage, "the kubelet takes no notice of a condition without"
        return bool(answer.volume_condition.abnormal)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    yield Site(tmp_path)
    for item in reversed(mounts.table()):
        if item.target.startswith(str(tmp_path)):
            mounts.unmount(item.target, lazy=True)
    clear(tmp_path)


@pytest.fixture
def share(site: Site) -> Iterator[Share]:
    with shared(site.base) as share:
        yield share
        share.die()
        for item in reversed(mounts.table()):
            if item.target.startswith(str(site.base)) and item.target != str(share.path):
                mounts.unmount(item.target, lazy=True)
        clear(site.base)


def clear(base: Path) -> None:
    """Free the loop devices of files below a directory, whether those answer or not."""
    for number, shown in loopctl.attached().items():
        if shown.startswith(str(base)):
            with kernel.opened(loopctl.node(number), os.O_RDONLY) as fd:
                loopctl.clear(fd)
    until(lambda: not any(shown.startswith(str(base)) for shown in loopctl.attached().values()))


def start_node(start: Start, site: Site, config: str = "") -> DriverProcess:
    return start("--mode", "node", config=f"local_paths: [{site.base}]\n{config}")


def node_of(driver: DriverProcess) -> Any:
    driver.wait_until_ready()
    return csi_pb2_grpc.NodeStub(driver.channel)


def test_a_node_that_was_killed_over_a_share_that_hangs_starts_again_and_serves_its_other_volumes(
    start: Start, site: Site, share: Share
) -> None:
    driver = start_node(start, site)
    node = node_of(driver)
    site.file(share.files / "hung")
    site.file(site.base / "fine")
    site.stage(node, share.path / "hung")
    site.stage(node, site.base / "fine")
    site.publish(node, "hung")
    share.hang()
    assert site.is_abnormal(node, "hung")
    share.wait_until_asked()
    driver.channel.close()  # a connection to the process that hangs would stay
    os.kill(driver.pid, signal.SIGKILL)
    until(lambda: is_over(Process(driver.pid)))

    again = start_node(start, site)
    node = node_of(again)
    assert is_over(Process(driver.pid)), "it is still there"
    site.publish(node, "fine")
    assert not site.is_abnormal(node, "fine")
    assert site.is_abnormal(node, "hung")
    site.unpublish(node, "hung")
    site.unpublish(node, "fine")
    site.unstage(node, "fine")

    share.answer()
    assert driver.wait(TIMEOUT) == -signal.SIGKILL
    until(lambda: not site.is_abnormal(node, "hung"))
    repeated(site.unstage, node, "hung")


def test_a_node_is_ready_though_a_share_hangs_that_an_earlier_process_left_a_volume_on(
    start: Start, site: Site, share: Share
) -> None:
    node = node_of(driver := start_node(start, site))
    for path in (share.files / "hung", site.base / "fine"):
        site.file(path)
    for path in (share.path / "hung", site.base / "fine"):
        site.stage(node, path)
        mounts.unmount(site.path("staged", path.name))
        Path(site.path("staged", path.name)).rmdir()
    assert driver.stop() == 0
    share.hang()
    node = node_of(start_node(start, site))
    repeated(site.unstage, node, "fine")
    assert [path.stem for path in (site.base / "state" / "stage").iterdir()] == ["hung"]
    share.answer()
    repeated(site.unstage, node, "hung")


HUNG, FINE = 10, 190
CALLERS, HUNG_CALLERS = 8, 64


def test_of_200_volumes_190_are_served_while_the_share_of_the_others_hangs(
    start: Start, site: Site, share: Share
) -> None:
    """With a quarter of the threads that a node has otherwise."""
    port = free_port()
    driver = start_node(start, site, f"health_address: 127.0.0.1:{port}\nworkers: 32\n")
    node, health = node_of(driver), Health(port)
    hung, fine = [f"hung-{number}" for number in range(HUNG)], [f"fine-{number}" for number in range(FINE)]
    for name in hung:
        site.file(share.files / name)
    for name in fine:
        site.file(site.base / name)
    with futures.ThreadPoolExecutor(CALLERS) as callers, futures.ThreadPoolExecutor(HUNG_CALLERS) as hung_callers:
        files = [share.path / name for name in hung] + [site.base / name for name in fine]
        for staged in [callers.submit(site.stage, node, file) for file in files]:
            staged.result()
        share.hang()
        asked = [hung_callers.submit(site.is_abnormal, node, name) for _ in range(20) for name in hung]
        refused = [
            hung_callers.submit(code, step, node, name) for name in hung for step in (site.publish, site.unstage)
        ]
        lives = [callers.submit(live, site, node, name) for name in fine]
        assert [life.result() for life in lives] == [False] * FINE
        assert all(call.result() for call in asked)
        codes = {call.result() for call in refused}
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
    assert health() == (200, "ok")
    assert health("readyz") == (200, "ok")
    assert waiting(driver) <= 3
    share.answer()
    until(lambda: waiting(driver) == 0)
    assert not any(site.is_abnormal(node, name) for name in hung)
    for name in hung:
        repeated(site.unstage, node, name)


def live(site: Site, node: Any, volume_id: str) -> bool:
    """All that happens to a volume that is staged; whether it was abnormal."""
    repeated(site.publish, node, volume_id)
    is_abnormal = site.is_abnormal(node, volume_id)
    repeated(site.unpublish, node, volume_id)
    repeated(site.unstage, node, volume_id)
    return is_abnormal


def repeated(step: Any, node: Any, volume_id: str) -> None:
    """As the kubelet does. On a busy machine somebody may look at a loop device in the very moment in which it is to go."""
    until(lambda: code(step, node, volume_id) is grpc.StatusCode.OK)


def code(step: Any, node: Any, volume_id: str) -> grpc.StatusCode:
    try:
        step(node, volume_id)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def waiting(driver: DriverProcess) -> int:
    """The node's threads that wait for a FUSE server."""
    return sum("request_wait_answer" in stack_of(thread) for thread in Path(f"/proc/{driver.pid}/task").iterdir())


def stack_of(thread: Path) -> str:
    """In the kernel; "" for a thread that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return (thread / "stack").read_text()
    return ""
