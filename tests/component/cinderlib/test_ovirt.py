"""What oVirt's Managed Block Storage calls, in its order: each call in a process of its own, on the databases that it is run with."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cl
from tests.component.cinderlib.conftest import LOOPFILE
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running

pytestmark = pytest.mark.root
GIB = 1024**3
ROOT = Path(__file__).parents[3]
CORRELATION = "b3ad1e0f"


class Client:
    """oVirt's engine: starts a process for each call."""

    def __init__(self, directory: Path, url: str, order: str) -> None:
        self.url = url
        self.volumes = directory / "volumes"
        self.log = directory / "cinderlib.log"
        self._directory = directory
        self._order = order
        name = f"mbs-{uuid.uuid4()}"  # the server's database is shared between tests
        options = {"volume_driver": LOOPFILE, "loopfile_directories": [str(self.volumes)]}
        self._driver = json.dumps({"volume_backend_name": name, **options})

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        program = [sys.executable, "-m", "tests.component.cinderlib.ovirt_client", self._order, str(self._directory)]
        call = [command, self._driver, self.url, CORRELATION, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen([*program, *call], stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def __call__(self, command: str, *arguments: str) -> Any:
        return answer(self.start(command, *arguments))


def answer(child: subprocess.Popen[str]) -> Any:
    output, errors = child.communicate(timeout=240)
    assert child.returncode == 0, errors
    prefix, _, text = output.partition(":")
    assert prefix == CORRELATION, output
    return json.loads(text) if text else None


def refusal(child: subprocess.Popen[str]) -> str:
    """The last line of a failed call."""
    errors = child.communicate(timeout=240)[1]
    assert child.returncode == 1, errors
    return errors.splitlines()[-1]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


@pytest.fixture(params=["sqlite-after", "postgresql+psycopg2-before"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """With the URLs as oVirt's settings spell them, and eventlet's patch before or after the import of the library."""
    database, order = request.param.split("-")
    if database == "sqlite":
        return Client(tmp_path, f"sqlite:///{tmp_path / 'ovirt.db'}", order)
    server: PostgreSQL = request.getfixturevalue("server")
    return at(server, tmp_path, order)


def at(server: PostgreSQL, directory: Path, order: str) -> Client:
    return Client(directory, server.url.replace("postgresql", "postgresql+psycopg2"), order)


@pytest.fixture
def volume_id(client: Client) -> str:
    made = str(uuid.uuid4())
    client("create_volume", made, "1")
    return made


def connector(host: str = "") -> str:
    found = cl.get_connector_properties(None, None, False, False)  # type: ignore[arg-type]  # as vdsm calls os-brick's
    return json.dumps({**found, **({"host": host} if host else {})})


def test_a_disk_is_made_connected_attached_extended_and_deleted(client: Client, volume_id: str) -> None:
    told = client("connect_volume", volume_id, connector())
    assert told["driver_volume_type"] == "local"
    assert client("connect_volume", volume_id, connector()) == told
    path = client("attach", volume_id)
    subprocess.run(["mkfs.ext4", "-q", path], check=True)
    info = client("get_connection_info", volume_id)
    assert (info["conn"], info["connector"], info["device"]["path"]) == (told, json.loads(connector()), path)
    client("extend_volume", volume_id, "2")
    client("detach", volume_id)
    client("disconnect_volume", volume_id)
    snapshot = client("create_snapshot", volume_id)
    client("delete_volume", client("create_volume_from_snapshot", volume_id, snapshot))
    client("remove_snapshot", snapshot, volume_id)
    assert [path.stat().st_size for path in files(client)] == [2 * GIB]
    client("delete_volume", volume_id)
    assert files(client) == []
    gone = client.start("delete_volume", volume_id)
    assert (gone.communicate(timeout=240)[0], gone.returncode) == (f"error:Volume {volume_id!r} not found", 0)
    assert "ovirt INFO configured" in client.log.read_text().splitlines()


def files(client: Client) -> list[Path]:
    return [path for path in client.volumes.rglob("volume-*") if path.is_file()]


def test_what_vdsm_says_about_the_device_is_kept(client: Client, volume_id: str) -> None:
    device = {"type": "block", "path": "/dev/mapper/mpatha", "multipath_id": "mpatha", "scsi_wwn": "3600"}
    told = client("connect_volume", volume_id, connector("hypervisor"))
    client("save_device", volume_id, json.dumps(device))
    info = client("get_connection_info", volume_id)
    assert (info["device"], info["conn"]) == (device, told)
    client("connect_volume", volume_id, connector("another"))
    client("disconnect_volume", volume_id)
    client("delete_volume", volume_id)


def test_a_template_is_cloned_with_its_data_and_capacity_is_told(client: Client, volume_id: str) -> None:
    copy_id = str(uuid.uuid4())
    for id in (volume_id, copy_id):
        if id == copy_id:
            client("clone_volume", volume_id, copy_id)
        client("connect_volume", id, connector())
        with open(client("attach", id), "r+b", buffering=0) as device:  # noqa: PTH123  # a device
            if id == copy_id:
                assert device.read(8) == b"template"
            else:
                device.write(b"template".ljust(4096))
        client("detach", id)
        client("disconnect_volume", id)
    assert set(client("storage_stats", "True")["pools"][0]) >= {"total_capacity_gb", "free_capacity_gb"}


def test_several_calls_at_once(client: Client) -> None:
    check_calls_at_once(client)


def test_several_calls_at_once_in_ovirts_order_of_imports(server: PostgreSQL, tmp_path: Path) -> None:
    check_calls_at_once(at(server, tmp_path, "after"))


def check_calls_at_once(client: Client) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for started in [client.start("create_volume", id, "1") for id in ids]:
        answer(started)
    hosts = [client.start("connect_volume", ids[0], connector(f"host-{number}")) for number in range(2)]
    others = [client.start("delete_volume", id) for id in ids[1:]]
    assert {answer(one)["driver_volume_type"] for one in hosts} == {"local"}
    for one in others:
        answer(one)
    assert refusal(client.start("delete_volume", ids[0])).startswith("cinder.exception.InvalidVolume: ")
    client("disconnect_volume", ids[0])
    client("delete_volume", ids[0])
    assert files(client) == []
