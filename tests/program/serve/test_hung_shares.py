"""A node with a share that hangs: it starts, serves its other volumes, and can be killed and started again."""

from __future__ import annotations

import os
import signal
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.v1 import csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from csi_cinderlib.host import mounts
from csi_cinderlib.host.processes import Process, is_over
from tests.program.serve.conftest import Start, until
from tests.program.serve.test_health import Health
from tests.support import repeating
from tests.support.fuse_share import Share
from tests.support.node_site import TIMEOUT, Site, code, repeated, waiting
from tests.support.ports import free_port

pytestmark = pytest.mark.root


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
    repeated(site.publish, node, "fine")  # the node looks at what the earlier process left
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
        asked = [hung_callers.submit(ask_until_abnormal, site, node, name) for _ in range(20) for name in hung]
        refused = [
            hung_callers.submit(code, step, node, name) for name in hung for step in (site.publish, site.unstage)
        ]
        lives = [callers.submit(live, site, node, name) for name in fine]
        assert [life.result() for life in lives] == [False] * FINE
        for call in asked:
            call.result()
        codes = {call.result() for call in refused}
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
    assert health() == (200, "ok")
    assert health("readyz") == (200, "ok")
    assert waiting(driver.pid) <= 3
    share.answer()
    until(lambda: waiting(driver.pid) == 0)
    assert not any(site.is_abnormal(node, name) for name in hung)
    for name in hung:
        repeated(site.unstage, node, name)


def ask_until_abnormal(site: Site, node: Any, volume_id: str) -> None:
    """Until the share counts as hanging, some of many callers are told to repeat."""
    until(lambda: repeating.repeated(lambda: site.is_abnormal(node, volume_id)))


def live(site: Site, node: Any, volume_id: str) -> bool:
    """All that happens to a volume that is staged; whether it was abnormal."""
    repeated(site.publish, node, volume_id)
    is_abnormal = site.is_abnormal(node, volume_id)
    repeated(site.unpublish, node, volume_id)
    repeated(site.unstage, node, volume_id)
    return is_abnormal
