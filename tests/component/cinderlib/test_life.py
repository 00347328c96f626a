"""The whole life of volumes, snapshots and connections, on each driver and each kind of store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Backend, Library, Volume, exception
from csi_cinderlib.model import records
from csi_cinderlib.provisioning import installation
from tests.component.cinderlib.conftest import CONNECTOR, LOOPFILE, NOTHING, Failing, options

GIB = 1024**3


def test_a_volume_is_made_found_extended_and_deleted(backend: Backend, library: Library) -> None:
    volume = backend.create_volume(1, name="data", description="for tests", metadata={"a": "b"})
    assert (volume.status, volume.size, volume.name, volume.description) == ("available", 1, "data", "for tests")
    assert volume.name_in_storage == f"volume-{volume.id}"
    assert library.volume(volume.id).metadata == {"a": "b"}
    assert [one.id for one in library.persistence.get_volumes(volume_name="data")] == [volume.id]
    assert volume.extend(3) == 3 * GIB
    assert library.volume(volume.id).size == 3
    volume.delete()
    assert (volume.status, volume.deleted) == ("deleted", True)
    with pytest.raises(exception.VolumeNotFound):
        library.volume(volume.id)


def test_a_snapshot_is_taken_of_a_connected_volume_and_becomes_a_volume(backend: Backend, library: Library) -> None:
    volume = backend.create_volume(1, name="source")
    volume.connect(CONNECTOR)
    snapshot = volume.create_snapshot("monday", "before the update")
    assert (snapshot.status, snapshot.volume_size, snapshot.description) == ("available", 1, "before the update")
    assert snapshot.volume is volume
    assert snapshot in volume.snapshots
    larger = snapshot.create_volume(size=2)
    assert (larger.size, larger.name, larger.snapshot_id) == (2, "source", snapshot.id)
    assert [one.id for one in library.persistence.get_snapshots(snapshot_name="monday")] == [snapshot.id]
    snapshot.delete()
    assert (snapshot.status, volume.snapshots) == ("deleted", [])
    with pytest.raises(exception.SnapshotNotFound):
        library.snapshot(snapshot.id)


def test_a_clone_is_as_its_source_in_all_that_is_not_given(backend: Backend) -> None:
    source = backend.create_volume(
        1, name="gold", extra_specs={"tier": "1"}, qos_specs={"maxIOPS": "5"}, metadata={"team": "x"}
    )
    clone = source.clone(size=2, name="copy")
    assert (clone.size, clone.name, clone.source_volid) == (2, "copy", source.id)
    assert clone.volume_type.extra_specs == {"tier": "1"}
    assert clone.volume_type.qos_specs.specs == {"maxIOPS": "5"}
    assert clone.metadata["team"] == "x"
    assert clone.host == source.host


def test_the_export_goes_with_the_last_connection_only(fake: Backend) -> None:
    volume = fake.create_volume(1)
    first, second = volume.connect(CONNECTOR), volume.connect({**CONNECTOR, "host": "node-2"})
    assert volume.status == "in-use"
    first.disconnect()
    assert fake.driver.exports == {volume.id}
    assert fake.driver.mapped == {(volume.id, "node-2")}
    assert (volume.connections, volume.status) == ([second], "in-use")
    volume.disconnect(second)
    assert (fake.driver.exports, fake.driver.mapped) == (set(), set())
    assert (volume.connections, volume.status) == ([], "available")
    second.disconnect()
    assert not second.connected


def test_a_connection_tells_how_the_volume_is_reached(backend: Backend, library: Library) -> None:
    volume = backend.create_volume(1)
    connection = volume.connect(CONNECTOR, attach_mode="ro")
    assert connection.connector_info == CONNECTOR
    assert connection.conn_info == connection.connection_info["conn"]
    assert connection.conn_info["driver_volume_type"] == connection.protocol
    assert connection.conn_info["data"]["access_mode"] == connection.attach_mode == "ro"
    assert (connection.connected, connection.attached, connection.path) == (True, False, None)
    again = library.connection(connection.id)
    assert (again.conn_info, again.volume.id) == (connection.conn_info, volume.id)
    assert again._ovo.connection_info == connection.connection_info


def test_what_only_the_user_knows_of_a_connection_is_kept(backend: Backend, library: Library) -> None:
    instance = "5a1d2c7e-0000-4000-8000-000000000002"
    kept: dict[str, Any] = {"attached_host": "guest-1", "instance_uuid": instance, "mountpoint": "/dev/vdc"}
    volume = backend.create_volume(1)
    connection = volume.connect(CONNECTOR, use_multipath=True, device_scan_attempts=7, **kept)
    assert connection.conn_info == connection.connection_info["conn"]
    assert not {"given", *kept} & set(connection.conn_info)
    for one in (connection, library.connection(connection.id), library.load(connection.jsons)):
        assert {name: getattr(one, name) for name in kept} == kept
    again = library.connection(connection.id)
    assert (again.use_multipath, again.scan_attempts) == (True, 7)
    again.use_multipath, again.scan_attempts = False, 2
    again.save()
    again = library.connection(connection.id)
    assert (again.use_multipath, again.scan_attempts, again.mountpoint) == (False, 2, "/dev/vdc")
    again.device_attached({"path": "/dev/sdx"})
    assert again.connection_info["device"] == {"path": "/dev/sdx"}
    plain = volume.connect(CONNECTOR)
    assert (plain.use_multipath, plain.scan_attempts, plain.mountpoint) == (False, 3, None)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("attach_mod", "ro", "unsupported field of a connection; supported: attach_mode"),
        ("volume_id", "another", "unsupported field"),
        ("connection_info", {}, "unsupported field"),
        ("attach_mode", "rx", "must be ro or rw"),
        ("device_scan_attempts", 0, "at least 1"),
        ("device_scan_attempts", "3", "whole number"),
    ],
)
def test_what_cannot_be_kept_of_a_connection_is_refused(fake: Backend, field: str, value: Any, problem: str) -> None:
    volume = fake.create_volume(1)
    with pytest.raises(errors.InvalidRequest, match=f"{field}: .*{problem}"):
        volume.connect(CONNECTOR, **{field: value})
    assert (volume.connections, fake.driver.exports) == ([], set())


def test_the_host_looks_for_a_device_as_often_as_it_is_told(fake: Backend) -> None:
    fake.driver.initialize_connection = lambda _volume, _connector: {"driver_volume_type": "iscsi", "data": {}}
    connection = fake.create_volume(1).connect(CONNECTOR, device_scan_attempts=9)
    assert connection.connector.device_scan_attempts == 9
    ours: Any = connection._initiator()._connector("iscsi", {})
    assert ours.device_scan_attempts == 9


@pytest.mark.parametrize("size", [1.5, True, -1, 0, "", "1.5", "many", float("nan"), None])
def test_a_size_that_is_no_whole_number_of_gib_is_refused(fake: Backend, size: Any) -> None:
    volume = fake.create_volume(1)
    with pytest.raises(errors.InvalidRequest, match="size: must be a whole number of GiB of at least 1"):
        volume.extend(size)
    if size is not None:  # as if it was not given
        with pytest.raises(errors.InvalidRequest, match="size: must be a whole number of GiB"):
            fake.create_volume(size)
    assert fake.driver.volumes == {volume.id: 1}


@pytest.mark.parametrize("size", [2, 2.0, "2"])
def test_a_whole_size_is_taken_as_it_is_written(fake: Backend, size: Any) -> None:
    assert fake.create_volume(size).size == 2
    assert fake.create_volume(1).extend(size) == 2 * GIB


def test_a_failure_of_the_database_does_not_show_what_it_was_asked() -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        volume = library.backend("fake", volume_driver=NOTHING).create_volume(1)

        def fails(_call: str, _record: Any) -> bool:
            raise errors.StoreUnavailable("the metadata store is away") from OSError("INSERT ... 'CHAP user secret'")

        store.fails = fails
        for call in (lambda: volume.extend(2), volume.delete, volume.save, lambda: library.volume(volume.id)):
            with pytest.raises(errors.StoreUnavailable, match="the metadata store is away"):
                call()

        def corrupt(_call: str, _record: Any) -> bool:
            raise errors.CorruptRecord("volume", volume.id, "it is torn") from ValueError("CHAP user secret")

        store.fails = corrupt
        with pytest.raises(errors.CorruptRecord, match="it is torn"):
            volume.refresh()
    finally:
        library.close()


def test_cinders_object_that_a_program_holds_shows_a_deletion_and_keeps_values_that_are_not_saved(
    backend: Backend,
) -> None:
    volume = backend.create_volume(1)
    held = volume._ovo
    held.display_description = "not saved"
    volume.delete()
    assert volume._ovo is held
    assert (held.status, held.deleted, held.deleted_at is not None) == ("deleted", True, True)
    assert (held.display_description, held.obj_what_changed()) == ("not saved", {"display_description"})


def test_a_volume_with_snapshots_or_connections_is_not_deleted(backend: Backend) -> None:
    volume = backend.create_volume(1)
    snapshot = volume.create_snapshot()
    with pytest.raises(exception.InvalidVolume, match="has snapshots") as refused:
        volume.delete()
    assert refused.value.resource is volume
    assert volume.status == "available"
    snapshot.delete()
    connection = volume.connect(CONNECTOR)
    with pytest.raises(exception.InvalidVolume, match="attached"):
        volume.delete()
    connection.disconnect()
    volume.delete()


def test_a_volume_that_a_controller_deleted_before_its_snapshots_is_not_listed(
    library: Library, tmp_path: Path
) -> None:
    backend = library.backend("here", **options(LOOPFILE, tmp_path))
    volume = backend.create_volume(1)
    snapshot = volume.create_snapshot()
    backend.core.delete_volume(volume._record)
    assert library.persistence.get_volumes() == []
    assert library.persistence.get_volumes(volume_id=volume.id) == []
    restored = snapshot.create_volume()
    snapshot.delete()
    assert [one.id for one in library.persistence.get_volumes()] == [restored.id]


def test_cleanup_disconnects_every_host(fake: Backend) -> None:
    volume = fake.create_volume(1)
    volume.connect(CONNECTOR)
    volume.connect({**CONNECTOR, "host": "node-2"})
    volume.cleanup()
    assert (volume.connections, fake.driver.mapped, fake.driver.exports) == ([], set(), set())


def test_the_record_is_there_before_the_driver_is_called(fake: Backend, library: Library) -> None:
    seen: list[str] = []

    def observed(volume: Any) -> dict[str, Any]:
        seen.append(library.store.get(records.Volume, volume.id).status)
        return {}

    fake.driver.create_volume = observed
    fake.create_volume(1)
    assert seen == ["creating"]


def test_a_creation_that_fails_leaves_nothing_and_names_the_volume(fake: Backend, library: Library) -> None:
    fake.driver.create_volume = refuse
    with pytest.raises(Refused, match="the array says no") as failed:
        fake.create_volume(1, name="never")
    volume = vars(failed.value)["resource"]
    assert (type(volume), volume.name, volume.status) == (Volume, "never", "error")
    assert library.persistence.get_volumes() == []
    volume.delete()
    assert volume.status == "deleted"


def test_a_deletion_that_fails_is_done_again(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    driver, original = fake.driver, fake.driver.delete_volume
    driver.delete_volume = refuse
    with pytest.raises(Refused):
        volume.delete()
    assert volume.status == "error_deleting"
    driver.delete_volume = original
    library.volume(volume.id).delete()
    assert library.persistence.get_volumes() == []


def test_an_extension_that_fails_leaves_the_volume_as_it_was(fake: Backend) -> None:
    volume = fake.create_volume(1)
    fake.driver.extend_volume = refuse
    with pytest.raises(Refused):
        volume.extend(2)
    volume.refresh()
    assert (volume.size, volume.status) == (1, "available")


def test_a_connection_that_fails_leaves_no_export(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    fake.driver.initialize_connection = refuse
    with pytest.raises(Refused):
        volume.connect(CONNECTOR)
    assert (volume.connections, fake.driver.exports, library.persistence.get_connections()) == ([], set(), [])


def test_a_host_that_cannot_reach_the_back_end_is_told(fake: Backend) -> None:
    fake.validate_connector(CONNECTOR)
    with pytest.raises(Exception, match="host") as refused:
        fake.validate_connector({"ip": "127.0.0.1"})
    assert type(refused.value).__name__ == "InvalidConnectorException"


def test_what_is_set_on_cinders_object_is_kept_by_save(backend: Backend, library: Library) -> None:
    volume = backend.create_volume(1)
    ovo = volume._ovo
    ovo.display_name, ovo.provider_id, ovo.metadata = "renamed", "7", {"k": "v"}
    volume.save()
    again = library.volume(volume.id)
    assert (again.name, again.provider_id, again.metadata) == ("renamed", "7", {"k": "v"})
    volume.extend(2)
    assert (volume._ovo is ovo, ovo.size) == (True, 2)


def test_cinders_object_is_cinders(backend: Backend) -> None:
    from cinder import objects

    volume = backend.create_volume(1)
    snapshot, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    assert isinstance(volume._ovo, objects.Volume)
    assert isinstance(snapshot._ovo, objects.Snapshot)
    assert isinstance(connection._ovo, objects.VolumeAttachment)
    assert snapshot._ovo.volume.id == volume.id
    assert [one.id for one in volume._ovo.volume_attachment] == [connection.id]


def test_an_unknown_field_is_named_not_dropped(backend: Backend) -> None:
    with pytest.raises(errors.InvalidRequest, match="extra_spec: unsupported field of a volume"):
        backend.create_volume(1, extra_spec={"a": "b"})  # type: ignore[call-arg]  # is refused
    with pytest.raises(errors.InvalidRequest, match="volume_attachment"):
        Volume(backend, volume_attachment=[])  # type: ignore[call-arg]  # is refused


def test_key_values_are_kept(library: Library) -> None:
    from csi_cinderlib.cinderlib import KeyValue

    kept = library.persistence
    kept.set_key_value(KeyValue("a", "1"))
    kept.set_key_value(KeyValue("a", "2"))
    kept.set_key_value(KeyValue("b", "3"))
    assert kept.get_key_values() == [KeyValue("a", "2"), KeyValue("b", "3")]
    assert kept.get_key_values("a") == [KeyValue("a", "2")]
    kept.delete_key_value(KeyValue("a"))
    assert kept.get_key_values("a") == []
    kept.delete_key_value(KeyValue("a"))


def test_key_values_of_this_program_are_neither_shown_nor_changed(library: Library) -> None:
    from csi_cinderlib.cinderlib import KeyValue

    own = KeyValue(installation.KEY, "x")
    was = installation.namespace(library.store)
    for change in (library.persistence.set_key_value, library.persistence.delete_key_value):
        with pytest.raises(errors.InvalidRequest, match=r"must not begin with 'csi-cinderlib\.'"):
            change(own)
    assert library.persistence.get_key_values() == []
    assert installation.namespace(library.store) == was


class Refused(Exception):
    """A driver's own exception."""


def refuse(*_args: Any, **_kwargs: Any) -> None:
    raise Refused("the array says no")
