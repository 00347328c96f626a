"""What oVirt's Managed Block Storage calls, in its order, each step in a set-up of its own, as its client process does."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cl
from tests.contract.cinderlib.conftest import LOOPFILE

pytestmark = pytest.mark.root
GIB = 1024**3


class Client:
    """oVirt starts a process for each call; here each call has a new set-up on the same database."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory / 'ovirt.db'}"
        self.cfg = json.dumps(
            {
                "volume_backend_name": "mbs",
                "volume_driver": LOOPFILE,
                "loopfile_directories": [str(directory / "volumes")],
            }
        )

    @contextmanager
    def backend(self) -> Iterator[Any]:
        cl.close()
        cl.setup(persistence_config={"storage": "db", "connection": self.url})
        try:
            yield cl.Backend(**json.loads(self.cfg))
        finally:
            cl.close()


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


@pytest.fixture
def volume_id(client: Client) -> str:
    made = str(uuid.uuid4())
    with client.backend() as backend:
        backend.create_volume(int("1"), id=made)
        backend.refresh()
    return made


def test_a_disk_is_made_connected_attached_extended_and_deleted(client: Client, volume_id: str) -> None:
    connector = cl.get_connector_properties(None, None, False, False)  # type: ignore[arg-type]  # as vdsm calls os-brick's
    with client.backend() as backend:
        volume = backend.volumes_filtered(volume_id=volume_id)[0]
        connection = volume.connect(connector)
        answer = json.loads(json.dumps(connection.connection_info["conn"]))
        assert answer["driver_volume_type"] == "local"

    with client.backend() as backend:
        volume = backend.volumes_filtered(volume_id=volume_id)[0]
        (connection,) = [one for one in volume.connections if one.connector_info["host"] == connector["host"]]
        assert json.loads(json.dumps(connection.conn_info)) == answer
        connection.attach()
        subprocess.run(["mkfs.ext4", "-q", connection.path], check=True)
        first = connection.path

    with client.backend() as backend:
        volume = backend.volumes_filtered(volume_id=volume_id)[0]
        (connection,) = volume.connections
        assert (connection.path, connection.attached) == (first, True)
        assert volume.extend(int("2")) == 2 * GIB
        assert connection.extend() == 2 * GIB
        connection.detach()
        connection.disconnect()
        assert volume.connections == []

    with client.backend() as backend:
        volume = backend.volumes_filtered(volume_id=volume_id)[0]
        assert (volume.size, volume.status) == (2, "available")
        volume.delete()
        backend.refresh()
        assert backend.volumes_filtered(volume_id=volume_id) == []


def test_what_vdsm_says_about_the_device_is_kept(client: Client, volume_id: str) -> None:
    device = {"type": "block", "path": "/dev/mapper/mpatha", "multipath_id": "mpatha", "scsi_wwn": "3600"}
    with client.backend() as backend:
        connection = backend.volumes_filtered(volume_id=volume_id)[0].connect({"host": "hypervisor"})
        connection.device_attached(device)
    with client.backend() as backend:
        volume = backend.volumes_filtered(volume_id=volume_id)[0]
        (connection,) = volume.connections
        assert (connection.connection_info["device"], connection.path) == (device, device["path"])
        assert connection.connection_info["conn"] == connection.conn_info
        volume.disconnect(connection)


def test_a_template_is_cloned_with_its_data_and_capacity_is_told(client: Client, volume_id: str) -> None:
    copy_id = str(uuid.uuid4())
    with client.backend() as backend:
        volume = backend.volumes_filtered(volume_id=volume_id)[0]
        attached = volume.attach()
        with open(attached.path, "r+b", buffering=0) as device:  # noqa: PTH123  # a device
            device.write(b"template".ljust(4096))
        volume.detach()
        assert volume.clone(id=copy_id).id == copy_id
        assert set(backend.stats(refresh=True)["pools"][0]) >= {"total_capacity_gb", "free_capacity_gb"}
    with client.backend() as backend:
        copy = backend.volumes_filtered(volume_id=copy_id)[0]
        attached = copy.attach()
        with open(attached.path, "rb", buffering=0) as device:  # noqa: PTH123  # a device
            assert device.read(8) == b"template"
        copy.detach()
        assert {one.id for one in backend.volumes} == {volume_id, copy_id}
