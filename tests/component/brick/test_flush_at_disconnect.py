"""What closed programs have written is on the storage after a disconnect, even if udev, for example, still has the device open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib import brick
from csi_cinderlib.brick import ANYWHERE, Device, Initiator
from csi_cinderlib.host import devices
from csi_cinderlib.model.connection import Connection

pytestmark = pytest.mark.root
DATA = b"kept" * 1024


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.write_bytes(bytes(8 << 20))
    return path


@pytest.fixture
def written(file: Path) -> Iterator[str]:
    """A device with dirty blocks that another program has open."""
    device = devices.attach_file(str(file))
    fd = os.open(device, os.O_RDONLY)
    try:
        with Path(device).open("r+b") as content:
            content.write(DATA)
        yield device
    finally:
        os.close(fd)
        devices.detach_file(device, expected=devices.identity(device))


def is_stored(file: Path) -> bool:
    return file.read_bytes()[: len(DATA)] == DATA


def local(path: str) -> Connection:
    return Connection(volume_id="volume", protocol="local", data={"device_path": path})


def test_a_device_that_stays_on_the_host_is_flushed(written: str, file: Path, tmp_path: Path) -> None:
    device = Device(path=written, wwid=devices.identity(written))
    Initiator(tmp_path, allowed=ANYWHERE).disconnect(local(written), device)
    assert is_stored(file)


def test_a_device_of_another_volume_is_not_touched(written: str, file: Path, tmp_path: Path) -> None:
    Initiator(tmp_path, allowed=ANYWHERE).disconnect(local(written), Device(path=written, wwid="another"))
    assert not is_stored(file)


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_loop_device_is_flushed_on_request(written: str, file: Path, is_deleted: bool) -> None:
    device = Device(path=written, wwid=devices.identity(written), file=str(file))
    with file.open("rb") as content:
        if is_deleted:
            file.unlink()
            device = Device(path=written, wwid=devices.identity(written), file=str(file))
        brick.flush(device)
        assert content.read(len(DATA)) == DATA
