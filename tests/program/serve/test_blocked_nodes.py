"""/healthz of a node: bad when calls have all threads and do not end, good again when they end."""

from __future__ import annotations

import os

import pytest

from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Start, until, whole_log
from tests.program.serve.test_health import Health
from tests.support.fuse_share import Share
from tests.support.node_site import Site, repeated
from tests.support.ports import free_port

pytestmark = pytest.mark.root
IMPATIENT = """
import csi_cinderlib.csi.server

csi_cinderlib.csi.server.STUCK_SECONDS = 1.0
"""
"""The program as it is, except that it does not wait for five minutes."""


def start_impatient(start: Start, site: Site) -> tuple[DriverProcess, Health]:
    """A node with one thread, which a single slow call may have: of more threads, half are left to others."""
    customize = site.base / "python" / "sitecustomize.py"
    customize.parent.mkdir()
    customize.write_text(IMPATIENT)
    port = free_port()
    config = f"local_paths: [{site.base}]\nhealth_address: 127.0.0.1:{port}\nworkers: 1\n"
    path = f"{customize.parent}:{os.environ.get('PYTHONPATH', '')}"
    driver = start("--mode", "node", config=config, environment={"PYTHONPATH": path})
    driver.wait_until_ready()
    return driver, Health(port)


def is_ready(driver: DriverProcess) -> bool:
    probe = csi_pb2_grpc.IdentityStub(driver.channel).Probe(csi_pb2.ProbeRequest(), timeout=60)
    return bool(probe.ready.value)


def test_health_is_bad_while_calls_have_all_threads_of_a_node_and_do_not_end(
    start: Start, site: Site, share: Share
) -> None:
    driver, health = start_impatient(start, site)
    node = csi_pb2_grpc.NodeStub(driver.channel)
    site.file(share.files / "hung")
    assert (health(), health("readyz"), is_ready(driver)) == ((200, "ok"), (200, "ok"), True)
    share.hang_data()
    call = site.begin_staging(node, share.path / "hung")
    until(lambda: health() != (200, "ok"), driver)
    said = "all 1 threads of the pool 'storage' are busy, and no call has ended for 1 s"
    assert (health(), health("readyz"), is_ready(driver)) == ((503, said), (503, said), False)
    assert f'"reason": "{said}"' in whole_log(driver)
    assert not call.done()
    share.answer()
    call.result()
    assert (health(), health("readyz"), is_ready(driver)) == ((200, "ok"), (200, "ok"), True)
    repeated(site.unstage, node, "hung")
