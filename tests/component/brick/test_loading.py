"""The protocol map against os-brick's own, and what a connector costs in modules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.brick import loading
from csi_cinderlib.errors import Unsupported

MACHINES = ("x86_64", "aarch64", "s390x", "ppc64le")

IN_A_CHILD = """
import json, sys
from pathlib import Path
from csi_cinderlib.brick import loading
found = {}
for protocol in sys.argv[2:]:
    found[protocol] = str(loading.connector_class(protocol, lock_dir=Path(sys.argv[1])))
from oslo_config import cfg
import os_brick.privileged.rootwrap as rootwrap
print(json.dumps({
    "classes": found,
    "modules": sorted(sys.modules),
    "lock_path": cfg.CONF.os_brick.lock_path,
    "said": rootwrap.execute("sh", "-c", "echo $PPID", run_as_root=True)[0].strip(),
    "pid": __import__("os").getpid(),
}))
"""


def run_child(lock_dir: Path, *protocols: str) -> dict[str, object]:
    argv = [sys.executable, "-W", "ignore", "-c", IN_A_CHILD, str(lock_dir), *protocols]
    found: dict[str, object] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return found


@pytest.fixture(scope="module")
def mappings() -> dict[str, dict[str, str]]:
    """os-brick's own maps, from a process of its own because they load every connector."""
    code = (
        "import json, sys; from os_brick.initiator import connector as c;"
        "print(json.dumps({m: c.get_connector_mapping(m) for m in sys.argv[1:]}))"
    )
    argv = [sys.executable, "-W", "ignore", "-c", code, *MACHINES]
    found: dict[str, dict[str, str]] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_every_protocol_of_os_brick_has_its_class(mappings: dict[str, dict[str, str]], machine: str) -> None:
    theirs = {protocol.lower(): path for protocol, path in mappings[machine].items()}
    ours = {protocol: loading.class_path(protocol, machine) for protocol in theirs}
    assert ours == theirs


def test_every_class_of_the_map_can_be_imported(tmp_path: Path) -> None:
    found = run_child(tmp_path, *(name for name in loading.CONNECTORS))
    classes = found["classes"]
    assert isinstance(classes, dict)
    assert set(classes) == set(loading.CONNECTORS)
    assert all(loading.CONNECTORS[name].rpartition(".")[2] in text for name, text in classes.items())


def test_an_unknown_protocol_is_named_with_the_known_ones() -> None:
    with pytest.raises(Unsupported, match=r"'drbd'.*supported: .*fibre_channel.*iscsi"):
        loading.class_path("drbd", "x86_64")
    with pytest.raises(Unsupported, match=r"unsupported protocol 'scaleio' on a s390x node"):
        loading.class_path("scaleio", "s390x")


@pytest.mark.parametrize("protocol", ["iscsi", "nvmeof", "fibre_channel", "rbd", "nfs"])
def test_no_connector_loads_eventlet(tmp_path: Path, protocol: str) -> None:
    modules = run_child(tmp_path, protocol)["modules"]
    assert isinstance(modules, list)
    assert not {"eventlet", "cinder", "sqlalchemy", "kubernetes", "os_brick.initiator.connector"} & set(modules)


def test_locks_lie_in_the_state_directory(tmp_path: Path) -> None:
    assert run_child(tmp_path, "iscsi")["lock_path"] == str(tmp_path)


def test_privileged_calls_run_in_this_process(tmp_path: Path) -> None:
    found = run_child(tmp_path, "iscsi")
    assert found["said"] == str(found["pid"])
