"""Two objects of one volume or connection, as two processes have them: neither overwrites what the other one did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import Backend, Library, exception
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(persistence_config=storage("db", tmp_path))
    yield made
    made.close()


@pytest.fixture
def stored(library: Library) -> Backend:
    return library.backend("fake", volume_driver=NOTHING)


def test_save_keeps_what_others_changed(stored: Backend, library: Library) -> None:
    volume = stored.create_volume(1)
    other = library.volume(volume.id)
    volume.extend(5)
    other._ovo.display_description = "x"
    other.save()
    again = library.volume(volume.id)
    assert (again.size, again.description, other.size) == (5, "x", 5)


def test_save_keeps_what_others_changed_of_a_snapshot(stored: Backend, library: Library) -> None:
    snapshot = stored.create_volume(1).create_snapshot("monday")
    other = library.snapshot(snapshot.id)
    snapshot._ovo.metadata = {"a": "b"}
    snapshot.save()
    other._ovo.display_name = "tuesday"
    other.save()
    again = library.snapshot(snapshot.id)
    assert (again.name, again.metadata) == ("tuesday", {"a": "b"})


@pytest.mark.parametrize("change", [True, False])
def test_save_does_not_bring_back_what_was_deleted(stored: Backend, library: Library, change: bool) -> None:
    volume = stored.create_volume(1)
    snapshot = volume.create_snapshot()
    other, other_snapshot = library.volume(volume.id), library.snapshot(snapshot.id)
    if change:
        other._ovo.display_description = other_snapshot._ovo.display_description = "x"
    snapshot.delete()
    volume.delete()
    with pytest.raises(exception.VolumeNotFound) as gone:
        other.save()
    assert gone.value.resource is other
    with pytest.raises(exception.SnapshotNotFound):
        other_snapshot.save()
    with pytest.raises(exception.VolumeNotFound):
        volume.save()
    assert (library.persistence.get_volumes(), library.persistence.get_snapshots()) == ([], [])


def test_a_connection_that_was_disconnected_stays_so(stored: Backend, library: Library) -> None:
    volume = stored.create_volume(1)
    connection = volume.connect(CONNECTOR)
    other = library.connection(connection.id)
    connection.disconnect()
    for late in (other.detach, other.save, lambda: other.device_attached({"path": "/dev/sdx"})):
        with pytest.raises(exception.ConnectionNotFound):
            late()
    assert library.persistence.get_connections() == []
    assert library.volume(volume.id).status == "available"


def test_what_two_set_of_a_connection_is_both_kept(stored: Backend, library: Library) -> None:
    connection = stored.create_volume(1).connect(CONNECTOR)
    other = library.connection(connection.id)
    connection.device_attached({"path": "/dev/sdx"})
    other.connector_info = {**CONNECTOR, "ip": "192.0.2.7"}
    other._ovo.mountpoint = "/dev/vdb"
    other.conn_info = {"driver_volume_type": "nothing", "data": {"lun": 2}}
    other.save()
    again = library.connection(connection.id)
    assert (again.path, again.connector_info["ip"], again.mountpoint) == ("/dev/sdx", "192.0.2.7", "/dev/vdb")
    assert again.conn_info["data"]["lun"] == 2
    assert other.connection_info == again.connection_info
