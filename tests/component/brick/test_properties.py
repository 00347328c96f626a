"""Connector properties from files, against os-brick's own answer on this machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.brick import connector_properties, ensure_nvme_identity
from csi_cinderlib.brick.properties import default_address
from csi_cinderlib.model.nodes import decode, encode


def host(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_bare_host_tells_its_name_and_address(tmp_path: Path) -> None:
    found = connector_properties(host="node1", ip="10.0.0.7", root=tmp_path)
    assert found["host"] == "node1"
    assert found["ip"] == "10.0.0.7"
    assert found["multipath"] is False
    assert not {"initiator", "wwpns", "nqn"} & set(found)


def test_every_transport_of_the_host_is_told(tmp_path: Path) -> None:
    root = host(
        tmp_path,
        {
            "etc/iscsi/initiatorname.iscsi": "## made by hand\nInitiatorName=iqn.1993-08.org.debian:01:abc\n",
            "sys/class/fc_host/host3/port_name": "0x10000090fa5344b0\n",
            "sys/class/fc_host/host3/node_name": "0x20000090fa5344b0\n",
            "sys/class/fc_host/host3/port_state": "Online\n",
            "sys/class/fc_host/host4/port_name": "0x10000090fa5344b1\n",
            "sys/class/fc_host/host4/node_name": "0x20000090fa5344b1\n",
            "sys/class/fc_host/host4/port_state": "Linkdown\n",
            "sys/class/dmi/id/product_uuid": "4c4c4544-0031\n",
            "etc/nvme/hostnqn": "nqn.2014-08.org.nvmexpress:uuid:1\n",
            "etc/nvme/hostid": "1\n",
            "sys/module/nvme_core/parameters/multipath": "Y\n",
        },
    )
    found = connector_properties(host="n", ip="i", multipath=True, enforce_multipath=True, root=root)
    assert found["initiator"] == "iqn.1993-08.org.debian:01:abc"
    assert found["wwpns"] == ["10000090fa5344b0"]
    assert found["wwnns"] == ["20000090fa5344b0"]
    assert (found["nqn"], found["nvme_hostid"]) == ("nqn.2014-08.org.nvmexpress:uuid:1", "1")
    assert found["system uuid"] == "4c4c4544-0031"
    assert found["nvme_native_multipath"] is True
    assert found["multipath"] is found["enforce_multipath"] is True
    assert decode(encode(found)) == {**found, "found_dsc": ""}


def test_a_host_gets_an_nvme_name_once(tmp_path: Path) -> None:
    ensure_nvme_identity(tmp_path)
    first = connector_properties(root=tmp_path, host="n", ip="i")
    ensure_nvme_identity(tmp_path)
    assert str(first["nqn"]).startswith("nqn.2014-08.org.nvmexpress:uuid:")
    assert connector_properties(root=tmp_path, host="n", ip="i") == first


@pytest.mark.parametrize("filler", ["03000200-0400-0500-0006-000700080009", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"])
def test_an_nvme_identity_is_not_made_of_what_many_boards_have(tmp_path: Path, filler: str) -> None:
    made = []
    for name in ("a", "b"):
        root = host(tmp_path / name, {"sys/class/dmi/id/product_uuid": filler})
        ensure_nvme_identity(root)
        made.append((root / "etc/nvme/hostid").read_text())
    assert made[0] != made[1]


def test_the_address_is_never_empty() -> None:
    assert default_address()


def test_os_brick_says_the_same_of_this_machine() -> None:
    code = (
        "import json; from os_brick.initiator import connector as c; import os_brick.privileged as p;"
        "p.default.set_client_mode(False);"
        "print(json.dumps(c.get_connector_properties('', '10.0.0.1', True, False, host='n')))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    theirs = json.loads(done.stdout)
    ours = connector_properties(host="n", ip="10.0.0.1", multipath=True)
    ours.setdefault("nvme_native_multipath", False)
    for key in (
        "platform",
        "os_type",
        "ip",
        "host",
        "multipath",
        "enforce_multipath",
        "do_local_attach",
        "initiator",
        "wwpns",
    ):
        assert ours.get(key) == theirs.get(key), key
    assert ours.get("nvme_native_multipath") == theirs.get("nvme_native_multipath")
