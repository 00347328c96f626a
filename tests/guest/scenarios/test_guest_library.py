"""The calls that a program written for cinderlib makes, on each back end that a guest can play, with devices on this host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import Backend, Library, Volume, get_connector_properties
from tests.guest.inside.backends import OPTIONS
from tests.guest.inside.footprint import Footprint
from tests.guest.scenarios import contract
from tests.support.fakes.beds import read, size_gib, write

THIN, THICK, FILES = (pytest.mark.guest(f"contract-{name}") for name in ("thin", "thick", "files"))


@pytest.fixture(
    params=[
        pytest.param("lvm-thin", marks=THIN),
        pytest.param("lvm-thick", marks=THICK),
        pytest.param("nfs", marks=FILES),
        pytest.param("rbd", marks=FILES),
        pytest.param("loopfile", marks=FILES),
    ]
)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """No volume of it may be left on this host afterwards."""
    name: str = request.param
    contract.set_up(name, request)
    driver, given = OPTIONS[name]
    options = {key: [str(tmp_path / "volumes")] if value == ["{directory}"] else value for key, value in given.items()}
    library = Library(persistence_config={"storage": "db", "connection": f"sqlite:///{tmp_path / 'volumes.db'}"})
    try:
        made = library.backend(name, volume_driver=driver, **options)
        before = Footprint.now()
        yield made
        assert Footprint.now().left_since(before) == {}
    finally:
        library.close()


def put(volume: Volume, mark: bytes) -> None:
    connection = volume.attach()
    write(Path(str(connection.path)), mark)
    volume.detach()


def check(volume: Volume, mark: bytes) -> None:
    connection = volume.attach()
    try:
        assert read(Path(str(connection.path))) == mark
        assert size_gib(Path(str(connection.path))) == volume.size
    finally:
        volume.detach()


def test_a_volume_is_attached_written_grown_cloned_and_deleted(backend: Backend) -> None:
    volume = backend.create_volume(1, name="data")
    put(volume, b"first")
    assert volume.extend(2) == 2 << 30
    check(volume, b"first")
    clone = volume.clone(size=3)
    put(volume, b"second")
    check(clone, b"first")
    check(volume, b"second")
    for one in (clone, volume):
        one.delete()
    assert backend.volumes == []


def test_a_snapshot_becomes_a_volume_with_what_was_there(backend: Backend) -> None:
    volume = backend.create_volume(1)
    put(volume, b"before")
    snapshot = volume.create_snapshot("monday")
    put(volume, b"after")
    restored = snapshot.create_volume(size=2)
    check(restored, b"before")
    check(volume, b"after")
    restored.delete()
    snapshot.delete()
    volume.delete()
    assert backend.volumes == []


def test_os_bricks_own_connector_attaches_a_volume_by_hand(backend: Backend) -> None:
    """As oVirt does on another host: os-brick connects, and the program reports the device."""
    if backend.id not in ("lvm-thin", "lvm-thick"):
        pytest.skip("only an iSCSI device is the same by hand: other volumes are files, or need a link of udev")
    volume = backend.create_volume(1)
    connection = volume.connect(get_connector_properties(host="by-hand"))
    device = connection.connector.connect_volume(connection.conn_info["data"])
    connection.device_attached(device)
    write(Path(str(connection.path)), b"by hand")
    volume.local_attach = connection
    assert volume.extend(2) == 2 << 30
    volume.detach()
    connection = volume.attach()
    assert {"scsi_wwn", "path", "type", "wwid"} <= connection.device.keys()
    assert connection.device["scsi_wwn"] == connection.device["info"]["scsi_wwn"]
    assert read(Path(str(connection.path))) == b"by hand"
    volume.detach()
    volume.delete()


@pytest.mark.parametrize(
    "backend", [pytest.param("nfs", marks=FILES), pytest.param("loopfile", marks=FILES)], indirect=True
)
def test_what_a_program_wrote_without_a_sync_is_in_the_volume_after_the_detach(backend: Backend) -> None:
    """udev opens a device after each writer, so the writer's close does not flush."""
    volume = backend.create_volume(1)
    lost = []
    for attempt in range(40):
        mark = f"attempt {attempt}".encode().ljust(1000, b".")
        Path(str(volume.attach().path)).write_bytes(mark)
        volume.detach()
        with Path(str(volume.attach().path)).open("rb") as device:
            found = device.read(len(mark))
        volume.detach()
        lost += [attempt] * (found != mark)
    assert lost == []
    volume.delete()
