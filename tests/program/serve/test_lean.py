"""What a process must not have loaded before somebody needs it: each of these is megabytes on every node, or a slower start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.config.settings import Mode

# Runs the program itself, and tells what it has loaded once it is ready and asked for nothing yet. As `serve` ends a process by
# its own means, and this one is to end too, both meet at os._exit.
CODE = """
import json, os, sys, threading, time
import csi_cinderlib.cli

def tell(socket, out):
    while not os.path.exists(socket):
        time.sleep(0.01)
    import grpc
    from csi_cinderlib.csi.v1 import csi_pb2
    with grpc.insecure_channel("unix:" + socket) as channel:
        probe = channel.unary_unary("/csi.v1.Identity/Probe", csi_pb2.ProbeRequest.SerializeToString, csi_pb2.ProbeResponse.FromString)
        while not probe(csi_pb2.ProbeRequest(), timeout=60, wait_for_ready=True).ready.value:
            time.sleep(0.01)
    with open(out, "w") as file:
        json.dump(sorted(sys.modules), file)
    os._exit(0)

socket, out, *words = sys.argv[1:]
threading.Thread(target=tell, args=(socket, out), daemon=True).start()
csi_cinderlib.cli.main(["serve", "--endpoint", socket, *words])
"""

NEVER = (
    "alembic", "kubernetes", "urllib3", "requests", "prometheus_client", "cryptography.fernet", "cryptography.hazmat", "psycopg",
    "pymysql", "csi_cinderlib.csi.v1.csi_pb2_grpc", "csi_cinderlib.csi.kubelet", "csi_cinderlib.demo",
    "csi_cinderlib.persistence.kubernetes", "eventlet.hubs", "rich",
)  # fmt: skip
"""Of neither: a migration, a client, an exporter, sealing; each only once it is asked for."""

OF_CONTROLLERS = (
    "cinder", "sqlalchemy", "sqlite3", "os_brick", "oslo_config", "oslo_concurrency", "eventlet", "yaml", "csi_cinderlib.backend",
    "csi_cinderlib.provisioning", "csi_cinderlib.persistence.sql", "csi_cinderlib.drivers", "csi_cinderlib.csi.controller",
)  # fmt: skip

NOT_YET_ON_NODES = (
    "ssl",
    "_ssl",
    "_hashlib",
    "hashlib",
    "http",
    "email",
    "difflib",
    "multiprocessing",
)

OF_DRIVERS = (
    "cinder", "oslo_config", "oslo_concurrency", "eventlet", "tooz", "taskflow", "csi_cinderlib.cinder.cinder_driver",
    "csi_cinderlib.drivers",
)  # fmt: skip
"""They have processes of their own."""

OF_NODES = (
    "os_brick.initiator.connectors", "csi_cinderlib.node", "csi_cinderlib.brick", "csi_cinderlib.csi.node",
    "csi_cinderlib.app.node",
)  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "unwanted"),
    [(Mode.NODE, NEVER + OF_CONTROLLERS + NOT_YET_ON_NODES), (Mode.CONTROLLER, NEVER + OF_NODES + OF_DRIVERS)],
)
def test_what_is_not_needed_yet_is_not_loaded(mode: Mode, unwanted: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "modules.json"
    words = (str(tmp_path / "csi.sock"), str(out), "--mode", mode, "--state-dir", str(tmp_path / "state"))
    argv = [sys.executable, "-W", "ignore", "-c", CODE, *words]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    loaded = json.loads(out.read_text())
    found = [module for module in loaded if any(module == name or module.startswith(f"{name}.") for name in unwanted)]
    assert found == []
