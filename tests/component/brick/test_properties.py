"""Connector properties from files, against os-brick's own answer on this machine."""

import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csi_cinderlib.brick import all_properties, connector_properties, ensure_nvme_identity, properties
from csi_cinderlib.brick.properties import default_address
from csi_cinderlib.model.nodes import decode, encode
from tests.support.ports import free_port


def host(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


EVERY_TRANSPORT = {
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
}


def test_a_bare_host_tells_its_name_and_address(tmp_path: Path) -> None:
    found = connector_properties(host="node1", ip="10.0.0.7", root=tmp_path)
    assert found["host"] == "node1"
    assert found["ip"] == "10.0.0.7"
    assert found["multipath"] is False
    assert not {"initiator", "wwpns", "nqn"} & set(found)


def test_every_transport_of_the_host_is_told(tmp_path: Path) -> None:
    root = host(tmp_path, EVERY_TRANSPORT)
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


COMPARED = """
import json, sys
import os_brick.privileged
from os_brick.initiator import connector
from csi_cinderlib.brick import all_properties

os_brick.privileged.default.set_client_mode(False)
theirs = connector.get_connector_properties("", "10.0.0.1", True, True, host="n")
print(json.dumps([theirs, all_properties(host="n", ip="10.0.0.1", multipath=True, enforce_multipath=True)]))
"""
FURNISHED = """
ip link set lo up
for name in group hosts ld.so.cache nsswitch.conf passwd; do cp "/etc/$name" "$1/etc" || true; done
for folder in etc sys/class sys/module; do mount --bind "$1/$folder" "/$folder"; done
"$2" -W ignore -c "$3" & trap "kill $!" EXIT
until "$2" -c 'import socket; socket.create_connection(("127.0.0.1", 6060))' 2>/dev/null; do :; done
"$2" -W ignore -c "$4"
"""
DISCOVERY_CLIENT = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 6060), Handler).serve_forever()
"""


def compared(*argv: str) -> list[dict[str, object]]:
    done = subprocess.run(argv, check=True, capture_output=True, timeout=240)
    answers: list[dict[str, object]] = json.loads(done.stdout)
    return answers


def test_this_machine_has_the_properties_that_os_brick_finds() -> None:
    theirs, ours = compared(sys.executable, "-W", "ignore", "-c", COMPARED)
    assert {**ours, **theirs} == ours


@pytest.mark.root
def test_a_host_with_every_transport_has_the_properties_that_os_brick_finds(tmp_path: Path) -> None:
    """In namespaces in which os-brick finds the same files and the same discovery client."""
    root = host(tmp_path, {**EVERY_TRANSPORT, "sys/class/fc_host/odd-name/port_state": "Linkdown\n"})
    script = ["sh", "-ec", FURNISHED, "sh", str(root), sys.executable, DISCOVERY_CLIENT, COMPARED]
    theirs, ours = compared("unshare", "--mount", "--propagation", "private", "--net", *script)
    assert {**ours, **theirs} == ours
    assert (ours["found_dsc"], ours["host_ips"], ours["nvme_native_multipath"]) == ("found", [], True)
    assert {"initiator", "wwpns", "wwnns", "nqn", "nvme_hostid", "system uuid"} <= ours.keys()


def test_the_root_file_system_is_found_by_udevs_links(tmp_path: Path) -> None:
    root = host(
        tmp_path, {"dev/vda1": "", "dev/vdb": "", "proc/mounts": "/dev/vda1 / ext4 rw 0 0\n/dev/vdb /data xfs rw 0 0\n"}
    )
    links = root / "dev/disk/by-uuid"
    links.mkdir(parents=True)
    (links / "1111-a").symlink_to("../../vdb")
    (links / "2222-b").symlink_to("../../vda1")
    assert all_properties(host="n", ip="i", root=root)["uuid"] == "2222-b"
    (root / "proc/mounts").write_text("overlay / overlay rw 0 0\n")
    assert "uuid" not in all_properties(host="n", ip="i", root=root)


def test_a_node_does_not_register_properties_that_other_hosts_may_share(tmp_path: Path) -> None:
    """A copied root file system has the same UUID, and every host has the address of its container bridge."""
    root = host(tmp_path, EVERY_TRANSPORT)
    found = connector_properties(host="n", ip="192.0.2.7", root=root, lightos_client=("127.0.0.1", free_port()))
    assert not {"uuid", "host_ips", "found_dsc"} & found.keys()


def test_a_node_with_lightos_client_registers_its_storage_address(tmp_path: Path) -> None:
    root = host(tmp_path, EVERY_TRANSPORT)

    class Client(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Client)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        found = connector_properties(
            host="n", ip="192.0.2.7", root=root, lightos_client=("127.0.0.1", server.server_port)
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (found["found_dsc"], found["host_ips"]) == ("found", ["192.0.2.7"])


def test_a_device_that_is_not_powerflexs_has_no_guid(tmp_path: Path) -> None:
    assert "sdc_guid" not in connector_properties(host="n", ip="i", root=host(tmp_path, {"dev/scini": ""}))


def test_the_request_for_powerflexs_guid_is_os_bricks() -> None:
    from os_brick.initiator.connectors.scaleio import ScaleIOConnector

    assert ScaleIOConnector.GET_GUID_OP_CODE == properties._GET_GUID


def test_a_guid_is_part_of_a_node_id() -> None:
    guid = "9f4a9a6e-0a4c-4d5c-8d57-4b3a1f0e7a11"
    assert (decode(encode({"host": "n", "sdc_guid": guid})) or {})["sdc_guid"] == guid
