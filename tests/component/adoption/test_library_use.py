"""Volumes of cinderlib live on under the library, with their data and their names on the storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_cinderlib.cinderlib import Backend, Library
from tests.component.adoption.databases import adopt, change, contents, sqlite_file

LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
GIB = 1024**3


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The files of the adopted volumes and snapshots, each with its own name as its data."""
    (tmp_path / "old").mkdir()
    source = sqlite_file(tmp_path / "old")
    change(source, "UPDATE volumes SET _name_id = '11111111-1111-1111-1111-111111111111' WHERE display_name = 'plain'")
    device = 'json(\'{"type": "block", "path": "/dev/sdb"}\')'
    change(
        source,
        f"UPDATE volume_attachment SET connection_info = json_set(connection_info, '$.device', {device}), mountpoint = '/mnt'",
        "UPDATE volume_attachment SET attach_mode = 'ro' WHERE volume_id = (SELECT id FROM volumes WHERE display_name = 'clone')",
    )
    assert adopt(source, tmp_path / "new.db", "--write") == 0
    volumes, snapshots, _, _ = contents(tmp_path / "new.db")
    directory = tmp_path / "storage"
    directory.mkdir()
    for item, gib in [
        *((f"volume-{volume.fields.get('_name_id', volume.id)}", int(volume.size)) for volume in volumes),
        *((f"snapshot-{snapshot.id}", int(snapshot.size)) for snapshot in snapshots),
    ]:
        with (directory / item).open("wb") as file:
            file.write(item.encode())
            file.truncate(gib * GIB)
    return directory


@pytest.fixture
def backend(storage: Path, tmp_path: Path) -> Iterator[Backend]:
    library = Library(persistence_config={"storage": "db", "connection": f"sqlite:///{tmp_path / 'new.db'}"})
    yield library.backend("array1", volume_driver=LOOPFILE, loopfile_directories=[f"p1:{storage}"])
    library.close()


def test_every_object_is_found_again(backend: Backend) -> None:
    volumes = {volume.name: volume for volume in backend.volumes}
    plain, typed = volumes["plain"], volumes["typed"]
    assert [snapshot.name for snapshot in plain.snapshots] == ["snapshot of plain"]
    assert plain.provider_id == "array-plain"
    assert plain.description == "a plain volume"
    assert (typed.status, typed.volume_type.extra_specs) == ("in-use", {"thin": "<is> True"})
    assert typed.volume_type.qos_specs.specs == {"total_iops_sec": "100"}
    (connection,) = volumes["clone"].connections
    assert connection.connector_info["host"] == "node1"
    assert connection.conn_info["data"]["auth_password"] == "secret"
    assert connection.device == {"type": "block", "path": "/dev/sdb"}
    assert (connection.attach_mode, connection.mountpoint) == ("ro", "/mnt")
    assert typed.connections[0].attach_mode == "rw"
    assert [item.key for item in backend.persistence.get_key_values()] == ["node1"]


def test_a_volume_keeps_its_name_on_the_storage_when_it_is_extended_and_deleted(
    backend: Backend, storage: Path
) -> None:
    plain = next(volume for volume in backend.volumes if volume.name == "plain")
    file = storage / "volume-11111111-1111-1111-1111-111111111111"
    plain.extend(3)
    assert file.stat().st_size >= 3 * GIB
    with file.open("rb") as content:
        assert content.read(len(file.name)) == file.name.encode()
    plain.snapshots[0].delete()
    plain.delete()
    assert not file.exists()


def test_all_volumes_can_be_disconnected_and_deleted(backend: Backend, storage: Path) -> None:
    for volume in list(backend.volumes):
        for connection in list(volume.connections):
            connection.disconnect()
        for snapshot in list(volume.snapshots):
            snapshot.delete()
        volume.delete()
    assert [path.name for path in storage.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.root
def test_a_volume_is_attached_with_its_data(backend: Backend, storage: Path) -> None:
    volume = next(volume for volume in backend.volumes if volume.name == "typed and unused")
    file = storage / f"volume-{volume.id}"
    connection = volume.attach()
    with open(str(connection.path), "rb", buffering=0) as device:  # noqa: PTH123  # a device
        assert device.read(4096).startswith(file.name.encode())
    volume.detach()
    volume.delete()
    assert not file.exists()
