"""Every field and every dictionary of a connection that a program changes is stored by `save`, or the change is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import load_cinder
from csi_cinderlib.cinderlib import Backend, Connection, Library, Volume, exception
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage

KEPT: dict[str, Any] = {
    "attach_mode": "ro",
    "attach_status": "reserved",
    "attach_time": "2026-01-02T03:04:05+00:00",
    "attached_host": "another-host",
    "connection_info": {"conn": {"driver_volume_type": "nfs", "data": {"export": "a:/b"}}, "connector": {"host": "x"}, "y": [1]},
    "connector": {"host": "renamed", "multipath": True},
    "detach_time": "2026-02-03T04:05:06+00:00",
    "instance_uuid": "11111111-2222-3333-4444-555555555555",
    "mountpoint": "/dev/vdz",
}  # fmt: skip
FIXED = ("created_at", "deleted", "deleted_at", "id", "updated_at", "volume_id")
OBJECTS = ("volume",)
"""Loaded on access."""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Library]:
    library = Library(persistence_config=storage("db", tmp_path))
    yield library
    library.close()


@pytest.fixture
def volume(database: Library) -> Volume:
    return database.backend("fake", volume_driver=NOTHING).create_volume(1)


@pytest.fixture
def connection(volume: Volume) -> Connection:
    return volume.connect(CONNECTOR)


def stored(connection: Connection) -> Connection:
    """Another object of the same record."""
    return connection._library.connection(connection.id)


def shown(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def test_the_table_has_every_field_of_cinders_class() -> None:
    load_cinder()
    from cinder import objects

    assert set(objects.VolumeAttachment.fields) == {*KEPT, *FIXED, *OBJECTS}


@pytest.mark.parametrize("field", KEPT)
def test_a_field_set_on_cinders_object_is_stored(connection: Connection, field: str) -> None:
    setattr(connection._ovo, field, KEPT[field])
    connection.save()
    for again in (connection, stored(connection)):
        found = shown(getattr(again._ovo, field))
        if isinstance(KEPT[field], dict):
            assert {**found, **KEPT[field]} == found or found["conn"]["data"]["export"] == "a:/b"
        else:
            assert found == KEPT[field]


@pytest.mark.parametrize("field", sorted(KEPT.keys() - {"connector"}))
def test_a_field_set_on_the_connection_is_stored(connection: Connection, field: str) -> None:
    setattr(connection, field, KEPT[field])
    connection.save()
    again = stored(connection)
    if field == "connection_info":
        assert (again.protocol, again.connector_info, again.connection_info["y"]) == ("nfs", {"host": "x"}, [1])
    else:
        assert shown(getattr(again, field)) == KEPT[field]


@pytest.mark.parametrize("field", FIXED)
def test_a_fixed_field_is_refused_by_name(connection: Connection, field: str) -> None:
    value = {"deleted": True, "id": Connection.new_uuid(), "volume_id": Connection.new_uuid()}.get(
        field, "2026-01-02T03:04:05+00:00"
    )
    with pytest.raises(AttributeError, match=field):
        setattr(connection, field, value)
    setattr(connection._ovo, field, value)
    with pytest.raises(ValueError, match=f"{field}: cannot be changed"):
        connection.save()
    connection.refresh()
    connection.save()


def test_changes_of_dictionaries_in_place_are_stored(connection: Connection) -> None:
    connection.conn_info["data"]["discard"] = True
    connection.connector_info["multipath"] = True
    connection.connection_info["mine"] = {"a": 1}
    connection._ovo.connection_info["theirs"] = 2
    connection._ovo.connector["ip"] = "192.0.2.7"
    connection.save()
    again = stored(connection)
    assert (again.conn_info["data"]["discard"], again.use_multipath) == (True, True)
    assert again.connector_info == {**CONNECTOR, "multipath": True, "ip": "192.0.2.7"}
    assert (again.connection_info["mine"], again.connection_info["theirs"]) == ({"a": 1}, 2)
    del again.connection_info["mine"]
    again.save()
    connection.refresh()
    assert "mine" not in connection.connection_info


def test_a_dictionary_held_across_a_save_still_belongs_to_the_connection(connection: Connection) -> None:
    data = connection.conn_info["data"]
    connection.mountpoint = "/mnt"
    connection.save()
    data["later"] = 1
    connection.save()
    assert (stored(connection).conn_info["data"]["later"], stored(connection).mountpoint) == (1, "/mnt")


def test_unsaved_values_survive_an_operation_and_are_stored_with_it(connection: Connection) -> None:
    connection.connector_info["multipath"] = True
    connection.scan_attempts = 9
    connection._ovo.mountpoint = "/mnt"
    connection.device_attached({"path": "/dev/sdx"})
    again = stored(connection)
    assert (again.use_multipath, again.scan_attempts, again.mountpoint, again.path) == (True, 9, "/mnt", "/dev/sdx")


def test_a_concurrent_change_is_kept_beside_a_change_in_place(connection: Connection) -> None:
    other = stored(connection)
    connection.conn_info["data"]["mine"] = 1
    other.device_attached({"path": "/dev/sdx"})
    connection.save()
    again = stored(connection)
    assert (again.conn_info["data"]["mine"], again.path) == (1, "/dev/sdx")


def test_refresh_discards_unsaved_values(connection: Connection) -> None:
    held = connection._ovo.connection_info
    connection.conn_info["data"]["discard"] = True
    connection.use_multipath = True
    connection.mountpoint = "/mnt"
    connection.refresh()
    assert (connection.conn_info, connection.use_multipath) == (stored(connection).conn_info, False)
    mountpoint: str | None = connection._ovo.mountpoint
    assert (mountpoint, held) == (None, connection.connection_info)


def test_the_access_mode_of_the_connection_info_is_the_attach_mode(connection: Connection) -> None:
    assert (connection.attach_mode, connection.conn_info["data"]["access_mode"]) == ("rw", "rw")
    connection.conn_info["data"]["access_mode"] = "ro"
    connection.save()
    assert stored(connection).attach_mode == "ro"
    connection.attach_mode = "rw"
    connection.save()
    assert stored(connection).conn_info["data"]["access_mode"] == "rw"


def test_a_constructed_connection_is_stored_by_save(volume: Volume, database: Library) -> None:
    conn = {"driver_volume_type": "iscsi", "data": {"target_lun": 1}}
    connection = Connection(
        volume.backend,
        volume=volume,
        connector=CONNECTOR,
        connection_info={"conn": conn},
        attach_mode="ro",
        mountpoint="/dev/vdb",
        device_scan_attempts=5,
    )
    assert database.persistence.get_connections() == []
    assert (connection.volume, connection.volume_id, connection.status) == (volume, volume.id, "attached")
    connection.save()
    again = database.connection(connection.id)
    assert (again.protocol, again.connector_info) == ("iscsi", CONNECTOR)
    assert again.conn_info["data"] == {"target_lun": 1, "access_mode": "ro"}
    assert (again.attach_mode, again.mountpoint, again.scan_attempts) == ("ro", "/dev/vdb", 5)
    volume.refresh()
    assert ([one.id for one in volume.connections], volume.status) == ([connection.id], "in-use")
    connection.disconnect()
    assert (connection._ovo.deleted, connection.attach_status) == (True, "detached")
    assert (connection.status, database.persistence.get_connections()) == ("deleted", [])


def test_a_connection_is_constructed_without_a_back_end_or_with_the_id_of_its_volume(volume: Volume) -> None:
    assert Connection(volume=volume).backend is volume.backend
    assert Connection(volume.backend, volume_id=volume.id).volume.id == volume.id
    with pytest.raises(ValueError, match="volume: is required"):
        Connection(volume.backend)
    with pytest.raises(ValueError, match="attach_mod: unsupported field"):
        Connection(volume.backend, volume=volume, attach_mod="ro")  # type: ignore[call-arg]  # is refused


def test_a_saved_connection_in_memory_is_the_one_that_is_found(library: Library) -> None:
    backend: Backend = library.backend("fake", volume_driver=NOTHING)
    connection = Connection(volume=backend.create_volume(1), connector=CONNECTOR)
    connection.save()
    assert library.connection(connection.id).connector_info == CONNECTOR


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("attach_time", "yesterday", "ISO 8601"),
        ("attach_status", "busy", "must be one of attached"),
        ("device_scan_attempts", 0, "at least 1"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused(volume: Volume, field: str, value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=f"{field}: .*{problem}"):
        volume.connect(CONNECTOR, **{field: value})


def test_every_value_is_in_the_json(connection: Connection, database: Library) -> None:
    for field in KEPT.keys() - {"connection_info", "connector"}:
        setattr(connection, field, KEPT[field])
    connection.connection_info["mine"] = 1
    connection.save()
    connection.device_attached({"path": "/dev/sdx", "type": "block", "scsi_wwn": "36001"})
    loaded = database.load_object(Connection, json.loads(connection.jsons), False)
    assert loaded.connection_info == connection.connection_info
    assert {name: shown(getattr(loaded, name)) for name in KEPT.keys() - {"connection_info", "connector"}} == {
        name: value for name, value in KEPT.items() if name not in ("connection_info", "connector")
    }


def test_a_connection_without_its_volume_is_found_and_disconnected(volume: Volume, connection: Connection) -> None:
    again = stored(connection)
    for _ in range(2):
        connection.disconnect()
    volume.delete()
    with pytest.raises(exception.VolumeNotFound):
        again.volume  # noqa: B018  # the access is the test
    again.disconnect()
    with pytest.raises(exception.ConnectionNotFound):
        stored(connection)
