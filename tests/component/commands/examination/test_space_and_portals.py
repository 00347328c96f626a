"""Free space, and portals that must answer."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.commands.examination import portals, space
from csi_cinderlib.commands.examination.findings import Level
from csi_cinderlib.commands.examination.portals import Portal
from csi_cinderlib.config.load import LOOPFILE_DRIVER
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import InvalidRequest
from tests.support.hosts import host, put


def test_a_state_directory_is_measured_or_the_place_where_it_would_be(tmp_path: Path) -> None:
    (finding,) = space.examine(tmp_path, ())
    assert "GiB free" in finding.detail
    (finding,) = space.examine(tmp_path / "a/b", ())
    assert f"a/b (created at the first start) in {tmp_path}" in finding.detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
def test_a_full_or_read_only_state_directory_is_bad(tmp_path: Path) -> None:
    assert os.system(f"mount -t tmpfs -o size=1m none {tmp_path}") == 0
    try:
        (finding,) = space.examine(tmp_path, ())
        assert finding.level is Level.BAD
        assert "records can no longer be written" in finding.advice
        assert os.system(f"mount -o remount,ro {tmp_path}") == 0
        (finding,) = space.examine(tmp_path, ())
        assert finding.level is Level.BAD
        assert "read-only" in finding.detail
    finally:
        os.system(f"umount {tmp_path}")


@pytest.mark.root
def test_a_pool_with_less_than_a_tenth_free_is_noted(tmp_path: Path) -> None:
    assert os.system(f"mount -t tmpfs -o size=100m none {tmp_path}") == 0
    try:
        (tmp_path / "data").write_bytes(b"x" * 95 * 1024 * 1024)
        _, finding = space.examine(tmp_path.parent, [("pool a", tmp_path)])
        assert finding.level is Level.NOTE
    finally:
        os.system(f"umount {tmp_path}")


def test_a_state_directory_without_inodes_is_as_good_as_full(tmp_path: Path) -> None:
    full = os.statvfs_result((4096, 4096, 1000, 900, 900, 100, 0, 0, 0, 255))
    assert "0 of 100 inodes free" in space.describe(full)
    uncounted = os.statvfs_result((4096, 4096, 1000, 900, 900, 0, 0, 0, 0, 255))
    assert "inodes" not in space.describe(uncounted)


@pytest.mark.parametrize(
    ("directories", "expected"),
    [
        (["fast:/srv/fast", "/srv/big"], [("pool a/fast", "/srv/fast"), ("pool a", "/srv/big")]),
        ("fast:/srv/fast, /srv/big", [("pool a/fast", "/srv/fast"), ("pool a", "/srv/big")]),
        (None, []),
    ],
)
def test_the_directories_of_loopfile_are_pools(directories: object, expected: list[tuple[str, str]]) -> None:
    options = {"loopfile_directories": directories}
    backends = [
        BackendSettings(name="a", driver=LOOPFILE_DRIVER, options=options),
        BackendSettings(name="b", driver="cinder.volume.drivers.lvm.LVMVolumeDriver", options=options),
    ]
    assert [(name, str(path)) for name, path in space.local_pools(backends)] == expected


@pytest.mark.parametrize(
    ("text", "portal"),
    [
        ("192.0.2.1:3260", Portal("192.0.2.1", 3260)),
        ("array.example:4420", Portal("array.example", 4420)),
        ("[2001:db8::1]:3260", Portal("2001:db8::1", 3260)),
    ],
)
def test_a_portal_is_an_address_with_a_port(text: str, portal: Portal) -> None:
    assert portals.parse(text) == portal
    assert str(portal) == text


@pytest.mark.parametrize(
    "text", ["", "192.0.2.1", ":3260", "192.0.2.1:", "a:0", "a:65536", "a:x", "2001:db8::1:3260", "a:-1", "a:²", "[]:1"]
)
def test_an_invalid_portal_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="HOST:PORT"):
        portals.parse(text)


@pytest.fixture
def listening() -> Iterator[Portal]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Portal("127.0.0.1", server.getsockname()[1])


@pytest.fixture
def closed() -> Iterator[Portal]:
    with socket.socket() as kept:  # bound, so that nobody else gets the port; nobody listens
        kept.bind(("127.0.0.1", 0))
        yield Portal("127.0.0.1", kept.getsockname()[1])


def test_a_portal_that_is_given_must_accept_connections(tmp_path: Path, listening: Portal, closed: Portal) -> None:
    found = list(portals.examine(host(tmp_path), [listening, closed], tmp_path))
    assert [finding.level for finding in found] == [Level.OK, Level.BAD]
    assert "refused" in found[1].detail


def test_a_portal_that_open_iscsi_remembers_may_be_gone(tmp_path: Path, listening: Portal, closed: Portal) -> None:
    target = "etc/iscsi/nodes/iqn.2020-01.x:y"
    records = {f"{target}/{portal.host},{portal.port},1/default": "" for portal in (listening, closed)}
    put(tmp_path, {**records, f"{target}/odd": "", f"{target}/a,b,c": ""})
    found = {
        finding.detail.split()[0].rstrip(",:"): finding.level
        for finding in portals.examine(host(tmp_path), (), tmp_path)
    }
    assert found == {str(listening): Level.OK, str(closed): Level.NOTE}


def test_portals_of_staged_volumes_are_tried(tmp_path: Path, listening: Portal, closed: Portal) -> None:
    data = {"target_portals": [str(listening), str(closed)], "target_lun": 1}
    record = json.dumps({"v": 1, "connection": {"protocol": "iscsi", "data": data}})
    put(tmp_path, {"stage/a.json": record, "stage/b.json": "{", "stage/c.json": "[]", "stage/d.txt": record})
    found = {finding.level: finding.detail for finding in portals.examine(host(tmp_path), (), tmp_path)}
    assert set(found) == {Level.OK, Level.NOTE}
    assert found[Level.NOTE].startswith(f"{closed} (used by a volume on this node): ")


@pytest.mark.parametrize(
    ("protocol", "data", "expected"),
    [
        ("iscsi", {"target_portal": "192.0.2.1:3260"}, ["192.0.2.1:3260"]),
        (
            "iscsi",
            {"target_portals": ["192.0.2.1:3260", "[2001:db8::1]:3260"]},
            ["192.0.2.1:3260", "[2001:db8::1]:3260"],
        ),
        ("iscsi", {"target_portal": None, "target_portals": ["odd"]}, []),
        ("nvmeof", {"target_portal": "192.0.2.1", "target_port": 4420, "transport_type": "tcp"}, ["192.0.2.1:4420"]),
        ("nvmeof", {"portals": [["192.0.2.1", 4420, "tcp"], ["192.0.2.2", "4420", "rdma"]]}, ["192.0.2.1:4420"]),
        ("nvmeof", {"portals": [["2001:db8::1", "4420", "TCP"], ["short"]]}, ["[2001:db8::1]:4420"]),
        ("fibre_channel", {"target_portal": "192.0.2.1:3260"}, []),
        ("rbd", {}, []),
    ],
)
def test_portals_are_read_from_what_drivers_answer(protocol: str, data: dict[str, object], expected: list[str]) -> None:
    assert [str(portal) for portal in portals.of_connection(protocol, data)] == expected


def test_an_unknown_name_is_an_error_of_that_portal() -> None:
    assert portals.attempt(Portal("nowhere.invalid", 3260))
    assert portals.attempt(Portal("a" * 300, 3260))
