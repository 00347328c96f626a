"""Devices on this host, and those on others, which are not ours to take off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Backend, Library, exception
from csi_cinderlib.host import devices
from tests.component.cinderlib.conftest import LOOPFILE, NOTHING, Failing, options, storage


@pytest.fixture
def files(library: Library, tmp_path: Path) -> Backend:
    return library.backend("files", **options(LOOPFILE, tmp_path))


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Library]:
    made = Library(persistence_config=storage("db", tmp_path), my_ip="192.0.2.44")
    yield made
    made.close()


@pytest.mark.root
def test_a_device_stays_while_another_connection_has_it(files: Backend, library: Library) -> None:
    volume = files.create_volume(1)
    first, second = volume.attach(), volume.attach()
    assert first.path == second.path
    wwid = first.device["wwid"]
    volume.detach()
    assert (second.attached, library.connection(first.id).path) == (False, first.path)
    assert devices.identity(str(first.path)) == wwid
    assert volume.local_attach is first
    with open(str(first.path), "r+b", buffering=0) as device:  # noqa: PTH123  # a device
        device.write(b"still here".ljust(4096))
    volume.detach()
    assert devices.find_attached(first_file(files, volume.id)) is None
    with pytest.raises(exception.NotLocal):
        volume.detach()
    volume.delete()


def first_file(backend: Backend, id: str) -> str:
    (directory,) = backend.configuration.loopfile_directories
    return next(str(path) for path in Path(directory).rglob(f"*{id}*") if path.is_file())


@pytest.mark.root
def test_a_device_goes_when_its_connection_cannot_be_written_down(tmp_path: Path) -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        backend = library.backend("files", **options(LOOPFILE, tmp_path))
        volume = backend.create_volume(1)
        connection = volume.connect({"host": library.host_name})
        store.fails = lambda call, _record: call == "replace"
        with pytest.raises(errors.StoreUnavailable):
            connection.attach()
        assert devices.find_attached(first_file(backend, volume.id)) is None
        store.fails = lambda _call, _record: False
        volume.cleanup()
    finally:
        library.close()


@pytest.mark.root
def test_cleanup_takes_off_what_this_object_attached_by_whatever_host_name(files: Backend) -> None:
    volume = files.create_volume(1)
    connection = volume.connect({"host": "another-name-of-this-host"})
    connection.attach()
    volume.cleanup()
    assert devices.find_attached(first_file(files, volume.id)) is None


def test_cleanup_ignores_a_connection_that_another_process_deleted(on_disk: Library) -> None:
    backend = on_disk.backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1)
    for _ in range(2):
        volume.connect({"host": on_disk.host_name})
    volume.connections[0].device_attached({"path": "/dev/sdx"})
    on_disk.connection(volume.connections[0].id).disconnect()
    volume.cleanup()
    assert (volume.connections, backend.driver.mapped) == ([], set())


def test_cleanup_leaves_devices_of_other_hosts_alone(on_disk: Library) -> None:
    """`nothing` is a protocol that this host knows nothing about, so that any attempt to detach fails."""
    backend = on_disk.backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1)
    volume.connect({"host": "elsewhere"}).device_attached({"path": "/dev/sdx"})
    volume.cleanup()
    assert (volume.connections, backend.driver.mapped) == ([], set())
    volume.connect({"host": on_disk.host_name}).device_attached({"path": "/dev/sdx"})
    with pytest.raises(Exception, match="nothing"):
        volume.cleanup()


def test_attach_tells_the_back_end_the_address_of_the_set_up(on_disk: Library) -> None:
    backend = on_disk.backend("fake", volume_driver=NOTHING)
    told: list[Any] = []
    backend.driver.validate_connector = told.append
    with pytest.raises(Exception, match="nothing"):
        backend.create_volume(1).attach()
    assert (told[0]["ip"], told[0]["host"]) == ("192.0.2.44", on_disk.host_name)
