"""The device of a connection: os-brick's keys, and devices that another program has attached."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import brick
from csi_cinderlib.brick.device import is_another
from csi_cinderlib.cinderlib import Backend, Library, Volume, connection_device, default, exception
from csi_cinderlib.host import devices
from tests.component.cinderlib.conftest import LOOPFILE, options, storage

OS_BRICK = {
    "iscsi": {"type": "block", "scsi_wwn": "36001405", "path": "/dev/sdb", "multipath_id": "36001405"},
    "fibre_channel": {"type": "block", "scsi_wwn": "36001405", "path": "/dev/sdb"},
    "nvmeof": {"type": "block", "path": "/dev/nvme0n1"},
    "lightos": {"type": "block", "path": "/dev/nvme0n1"},
    "scaleio": {"type": "block", "path": "/dev/disk/by-id/emc-vol-1"},
    "rbd": {"type": "block", "path": "/dev/rbd0"},
    "local": {"type": "local", "path": "/srv/volume"},
    "nfs": {"path": "/mnt/share/volume"},
}
"""The results of `connect_volume` in os-brick 7.1, by protocol."""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    library = Library(persistence_config=storage("db", tmp_path))
    backend: Backend = library.backend("files", **options(LOOPFILE, tmp_path))
    volume = backend.create_volume(1)
    yield volume
    volume.cleanup()
    library.close()


@pytest.mark.parametrize("protocol", OS_BRICK)
def test_a_stored_device_has_os_bricks_keys_and_gives_os_brick_its_own_back(protocol: str) -> None:
    info: dict[str, Any] = OS_BRICK[protocol]
    made = brick.Device(path="/dev/dm-3", wwid="naa.6001405", multipath=True, file="", info=info)
    stored = json.loads(json.dumps(connection_device.stored(made)))
    assert {**stored, **info, "type": "block", "path": "/dev/dm-3"} == stored
    assert connection_device.loaded(stored) == made


def test_a_device_stored_with_os_bricks_keys_only_under_info_is_read() -> None:
    info = OS_BRICK["iscsi"]
    older = {"type": "block", "path": "/dev/sdb", "wwid": "naa.6", "multipath": False, "file": "", "info": info}
    assert connection_device.loaded(older) == brick.Device(path="/dev/sdb", wwid="naa.6", info=info)


def test_a_device_of_another_program_is_given_to_os_brick_unchanged() -> None:
    foreign = connection_device.loaded(OS_BRICK["nvmeof"])
    assert isinstance(foreign, brick.ForeignDevice)
    assert (foreign.path, foreign.info) == ("/dev/nvme0n1", OS_BRICK["nvmeof"])


@pytest.mark.root
def test_a_foreign_device_is_the_same_one_while_its_path_exists(volume: Volume) -> None:
    """os-brick needs the path to disconnect an NVMe device, and another program records no identity to compare."""
    connection = volume.attach()
    assert not is_another(brick.ForeignDevice(path=str(connection.path)))
    assert is_another(brick.ForeignDevice(path="/dev/absent"))


@pytest.mark.root
def test_os_bricks_own_connector_attaches_a_volume_by_hand(volume: Volume) -> None:
    connection = volume.connect({"host": volume._library.host_name})
    connector = connection.connector
    device = connector.connect_volume(connection.conn_info["data"])
    assert connector.check_valid_device(device["path"])
    connection.device_attached(device)
    again = volume._library.connection(connection.id)
    assert (again.device, again.path) == (device, device["path"])
    assert connection.extend() == 1 << 30
    connection.detach()
    assert not volume._library.connection(connection.id).attached


def test_the_connector_is_made_once_until_its_options_change(volume: Volume) -> None:
    connection = volume.connect({"host": "elsewhere"})
    connector = connection.connector
    assert connection.connector is connector
    connection.use_multipath = True
    assert connection.connector is not connector
    connection.disconnect()
    assert connection.connector is None


@pytest.mark.root
def test_unsaved_options_are_used_by_attach(volume: Volume) -> None:
    connection = volume.connect({"host": volume._library.host_name})
    connection.attach_mode = "ro"
    connection.attach()
    assert devices.is_read_only(str(connection.path))
    assert volume._library.connection(connection.id).attach_mode == "ro"
    connection.detach()


@pytest.mark.root
def test_a_device_that_cannot_be_read_is_not_attached(volume: Volume, tmp_path: Path) -> None:
    """A loop device whose file has become empty."""
    file = tmp_path / "disk"
    with file.open("wb") as content:
        content.truncate(1 << 20)
    device = devices.attach_file(str(file))
    try:
        os.truncate(file, 0)
        answer = {"driver_volume_type": "local", "data": {"device_path": device}}
        default.loaded_backend(volume.backend).driver.initialize_connection = lambda *_: answer
        connection = volume.connect({"host": volume._library.host_name})
        devices.flush(device)
        with pytest.raises(exception.no_device()[0], match=f"cannot read {device}: Input/output error"):
            connection.attach()
        assert not volume._library.connection(connection.id).attached
    finally:
        devices.detach_file(device, expected=devices.identity(device), file=str(file))


@pytest.mark.root
def test_a_forced_detach_still_writes_out_what_it_can(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = volume.attach()
    device = str(connection.path)
    monkeypatch.setattr(devices, "DETACH_SECONDS", 0.0)
    with Path(device).open("rb"):  # without it, the close of the writer would flush
        Path(device).write_bytes(b"kept" * 1024)
        with pytest.raises(brick.exception_class("ExceptionChainer"), match="another process has it open"):
            connection.detach(force=True)
        assert Path(str(connection.device["file"])).read_bytes()[:4096] == b"kept" * 1024
