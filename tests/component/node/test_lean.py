"""A node process stays small: what it must not import, and what it weighs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CODE = """
import gc, json, sys
import csi_cinderlib.brick
from csi_cinderlib.node import expansion, publishing, reconcile, registration, stage_records, staging, statistics
from pathlib import Path
if len(sys.argv) > 2:
    from csi_cinderlib.brick.loading import connector_class
    connector_class(sys.argv[2], lock_dir=Path(sys.argv[1]))
csi_cinderlib.brick.connector_properties()
rss = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps({"modules": sorted(sys.modules), "mb": int(rss.split()[1]) / 1024}))
"""
FORBIDDEN = (
    "cinder",
    "sqlalchemy",
    "alembic",
    "kubernetes",
    "eventlet",
    "grpc",
    "google",
    "csi_cinderlib.backend",
    "csi_cinderlib.csi",
)


def child(*arguments: str) -> dict[str, Any]:
    argv = [sys.executable, "-W", "ignore", "-c", CODE, "/tmp", *arguments]
    found: dict[str, Any] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return found


def loaded(found: dict[str, Any], *names: str) -> list[str]:
    return [
        module for module in found["modules"] if any(module == name or module.startswith(name + ".") for name in names)
    ]


def test_an_idle_node_loads_neither_os_brick_nor_anything_of_the_controllers() -> None:
    found = child()
    assert loaded(found, *FORBIDDEN, "os_brick", "oslo_config", "cryptography") == []
    assert found["mb"] < 30, "gRPC adds 25 MB, and the whole budget is 45"


@pytest.mark.parametrize("protocol", ["iscsi", "fibre_channel", "nvmeof", "rbd", "nfs"])
def test_a_node_that_attached_loads_one_connector(protocol: str) -> None:
    found = child(protocol)
    assert loaded(found, *FORBIDDEN, "os_brick.initiator.connector") == []
    assert loaded(found, "os_brick") != []
    assert found["mb"] < 55, "gRPC adds 25 MB, and the whole budget is 80"
