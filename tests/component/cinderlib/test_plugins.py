"""Persistence plugins written for cinderlib, as the metadata store."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Library, default, objects
from csi_cinderlib.cinderlib.persistence import base, memory
from csi_cinderlib.model import records
from csi_cinderlib.persistence.contract.samples import VOLUME
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING
from tests.support.fakes.cinderlib_plugins import PLUGINS, JsonFiles, Remembering, closing


@pytest.fixture(params=PLUGINS)
def plugin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = PLUGINS[request.param](tmp_path)
    with closing(made):
        yield made


@pytest.fixture
def library(plugin: Any) -> Iterator[Library]:
    made = Library(persistence_config={"storage": plugin})
    yield made
    made.close()


def test_the_plugin_gets_objects_with_the_values_of_the_program(plugin: Any, library: Library) -> None:
    backend = library.backend("here", volume_driver=NOTHING)
    volume = backend.create_volume(1, name="data", metadata={"a": "b"}, extra_specs={"tier": "1"}, qos_specs={"q": "9"})
    snapshot = volume.create_snapshot("monday")
    connection = volume.connect(CONNECTOR)
    with default.serving(library):
        (stored,) = plugin.get_volumes(volume_name="data")
        assert (stored.id, stored.size, stored.status, stored.metadata) == (volume.id, 1, "in-use", {"a": "b"})
        assert stored.volume_type.extra_specs == {"tier": "1"}
        assert stored.volume_type.qos_specs.specs == {"q": "9"}
        assert list(stored.admin_metadata) == ["csi-cinderlib"]
        assert [item.id for item in plugin.get_snapshots(volume_id=volume.id)] == [snapshot.id]
        assert plugin.get_connections()[0].connector_info == CONNECTOR
        assert plugin.get_connections()[0].id == connection.id
    assert volume.admin_metadata == {}
    assert library.volume(volume.id).admin_metadata == {}
    assert snapshot.metadata == {}
    assert "csi-cinderlib" not in library.connection(connection.id).conn_info


@pytest.mark.parametrize("name", ["json", "columns"])
def test_a_second_set_up_finds_what_the_plugin_has_stored(name: str, tmp_path: Path) -> None:
    with closing(PLUGINS[name](tmp_path)) as plugin:
        first = Library(persistence_config={"storage": plugin})
        volume = first.backend("here", volume_driver=NOTHING).create_volume(1, name="data")
        snapshot = volume.create_snapshot("monday")
        connection = volume.connect(CONNECTOR, attach_mode="ro")
        before = [first.store.get(kind, id) for kind, id in _all(volume, snapshot, connection)]
        first.close()
    with closing(PLUGINS[name](tmp_path)) as plugin:
        again = Library(persistence_config={"storage": plugin})
        assert [again.store.get(kind, id) for kind, id in _all(volume, snapshot, connection)] == before
        again.backend("here", volume_driver=NOTHING)
        assert again.volume(volume.id).connections[0].attach_mode == "ro"
        assert again.snapshot(snapshot.id).volume.name == "data"
        again.close()


def _all(volume: Any, snapshot: Any, connection: Any) -> list[tuple[Any, str]]:
    return [
        (records.Volume, volume.id),
        (records.Snapshot, snapshot.id),
        (records.Attachment, connection.id),
    ]


def test_a_new_object_has_changed_in_all_and_a_stored_one_in_what_differs(tmp_path: Path) -> None:
    plugin = JsonFiles(str(tmp_path))
    library = Library(persistence_config={"storage": plugin})
    volume = library.backend("here", volume_driver=NOTHING).create_volume(1)
    creation = plugin.written[0]
    assert "'id'" in creation
    assert "'display_name'" in creation
    plugin.written.clear()
    volume._ovo.display_name = "renamed"
    volume.save()
    assert plugin.written == ["volumes ['admin_metadata', 'display_name']"]
    library.close()


def test_a_plugin_that_refuses_to_overwrite_a_newer_object_prevents_conflicts_between_processes(tmp_path: Path) -> None:
    """Two set-ups over two plugin objects with the same files, as two processes have."""
    first, second = (Library(persistence_config={"storage": JsonFiles(str(tmp_path))}) for _ in range(2))
    known = first.store.add(records.Volume(id="v", backend="here", size=VOLUME.size))
    newer = second.store.replace(replace(known, message="newer"))
    with pytest.raises(errors.StaleRecord):
        first.store.replace(replace(known, message="older"))
    assert first.store.get(records.Volume, "v") == newer
    first.close()
    second.close()


class Shared(JsonFiles):
    shared = True


def test_the_class_says_whether_objects_survive_and_whether_processes_share_them(tmp_path: Path) -> None:
    for storage, durable, shared in ((JsonFiles, True, False), (Shared, True, True), (Remembering, False, False)):
        options = {} if storage is Remembering else {"directory": str(tmp_path)}
        library = Library(persistence_config={"storage": storage, **options})
        assert (library.store.traits.durable, library.store.traits.shared) == (durable, shared)
        library.close()


class Forgetful(memory.MemoryPersistence):
    """Does not keep what it has no column for."""

    def set_volume(self, volume: Any) -> None:
        volume._ovo.admin_metadata = {}
        super().set_volume(objects.Volume._load(volume.backend, volume._ovo))


def test_a_plugin_that_drops_values_is_refused_before_the_driver_is_called() -> None:
    library = Library(persistence_config={"storage": Forgetful})
    backend = library.backend("here", volume_driver=NOTHING)
    with pytest.raises(errors.StoreUnavailable, match=r"Forgetful has not kept .*admin_metadata"):
        backend.create_volume(1)
    assert (backend.driver.volumes, library.persistence.get_volumes()) == ({}, [])
    library.close()


class Broken(memory.MemoryPersistence):
    fails: str = ""

    def set_volume(self, volume: Any) -> None:
        if self.fails == "before":
            raise ValueError("the disk is full")
        super().set_volume(volume)
        if self.fails == "after":
            raise ValueError("the answer was lost")


def test_an_exception_of_the_plugin_is_a_cause_and_a_write_that_had_its_effect_succeeds() -> None:
    plugin = Broken()
    library = Library(persistence_config={"storage": plugin})
    plugin.fails = "after"
    stored = library.store.add(records.Volume(id="v", backend="here", size=VOLUME.size))
    assert library.store.get(records.Volume, "v") == stored
    plugin.fails = "before"
    with pytest.raises(
        errors.StoreUnavailable, match=r"plugin Broken failed in `replace`: ValueError: the disk"
    ) as failed:
        library.store.replace(replace(stored, message="x"))
    assert isinstance(failed.value.__cause__, ValueError)
    with pytest.raises(errors.StoreUnavailable):
        library.store.add(records.Volume(id="w", backend="here", size=VOLUME.size))
    assert library.store.get(records.Volume, "v") == stored
    library.close()


class Waiting(memory.MemoryPersistence):
    """Waits in `set_volume` for another thread that calls the library."""

    patience = 0.2
    library: Any = None
    failure: BaseException | None = None

    def set_volume(self, volume: Any) -> None:
        if self.library is not None:
            library, self.library = self.library, None
            other = threading.Thread(target=self._call, args=(library,))
            other.start()
            other.join()
        super().set_volume(volume)

    def _call(self, library: Library) -> None:
        try:
            library.persistence.get_volumes()
        except errors.StoreUnavailable as error:
            self.failure = error


def test_a_plugin_that_waits_for_another_threads_call_ends_with_an_error_in_that_thread() -> None:
    plugin = Waiting()
    library = Library(persistence_config={"storage": plugin})
    plugin.library = library
    stored = library.store.add(records.Volume(id="v", backend="here", size=VOLUME.size))
    assert "the persistence plugin Waiting has been busy with `add` for 0.2 s" in str(plugin.failure)
    assert library.store.get(records.Volume, "v") == stored
    library.close()


class Slow(memory.MemoryPersistence):
    patience = 0.5

    def get_volumes(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(0.1)
        return super().get_volumes(*args, **kwargs)


def test_threads_wait_longer_than_that_for_the_calls_of_many_others() -> None:
    library = Library(persistence_config={"storage": Slow()})
    with ThreadPoolExecutor(16) as pool:
        found = [pool.submit(library.store.page, records.Volume) for _ in range(16)]
        assert [call.result().records for call in found] == [()] * 16
    library.close()


class WithoutKeyValues(memory.MemoryPersistence):
    set_key_value = base.PersistenceDriverBase.set_key_value


def test_a_plugin_without_key_values_refuses_records_that_need_them() -> None:
    library = Library(persistence_config={"storage": WithoutKeyValues})
    for record in (records.KeyValue(id="k", value="v"), records.Node(id="n")):
        with pytest.raises(errors.StoreUnavailable, match=r"has not kept the object of .* or its key-values"):
            library.store.add(record)  # type: ignore[type-var]  # two kinds
    library.close()


def test_objects_that_cinderlib_has_stored_are_found_changed_and_deleted(library: Library, plugin: Any) -> None:
    """They have no remainder, and a connection no back end."""
    backend = library.backend("here", volume_driver=NOTHING)
    made = backend.create_volume(1, name="old")
    snapshot, connection = made.create_snapshot("s"), made.connect(CONNECTOR)
    _strip(plugin, library)
    volume = library.volume(made.id)
    assert (volume.name, volume.status, volume.connections[0].backend) == ("old", "in-use", backend)
    library.persistence.delete_connection(connection)
    assert volume.extend(2) == 2 * 1024**3
    library.snapshot(snapshot.id).delete()
    library.volume(made.id).delete()
    assert library.persistence.get_volumes() == []


class Adding(JsonFiles):
    """Fills in a value of its own."""

    def set_volume(self, volume: Any) -> None:
        volume._ovo.availability_zone = "west"
        super().set_volume(volume)


def test_a_plugin_may_add_values(tmp_path: Path) -> None:
    library = Library(persistence_config={"storage": Adding(str(tmp_path))})
    volume = library.backend("here", volume_driver=NOTHING).create_volume(1, description="d")
    volume.extend(2)
    found = library.volume(volume.id)
    assert (found.availability_zone, found.description, found.size) == ("west", "d", 2)
    volume.delete()
    assert library.persistence.get_volumes() == []
    library.close()


class Keeping(memory.MemoryPersistence):
    """Keeps deleted objects, as the base class marks them."""

    def delete_volume(self, volume: Any) -> None:
        base.PersistenceDriverBase.delete_volume(self, self.volumes[volume.id])

    def delete_snapshot(self, snapshot: Any) -> None:
        base.PersistenceDriverBase.delete_snapshot(self, self.snapshots[snapshot.id])

    def delete_connection(self, connection: Any) -> None:
        base.PersistenceDriverBase.delete_connection(self, self.connections[connection.id])


class KeepingCinders(Keeping):
    """Keeps Cinder's objects, and makes new objects of them."""

    def get_volumes(self, *args: Any, **kwargs: Any) -> Any:
        return [objects.Volume._load("here", kept._ovo) for kept in super().get_volumes(*args, **kwargs)]

    def get_snapshots(self, *args: Any, **kwargs: Any) -> Any:
        return [objects.Snapshot._load("here", kept._ovo, None) for kept in super().get_snapshots(*args, **kwargs)]

    def get_connections(self, *args: Any, **kwargs: Any) -> Any:
        return [objects.Connection._load("here", kept._ovo) for kept in super().get_connections(*args, **kwargs)]


class KeepingColumns(Keeping):
    """Keeps the fields, and passes them to the constructors."""

    def get_volumes(self, *args: Any, **kwargs: Any) -> Any:
        return [objects.Volume("here", **columns(kept)) for kept in super().get_volumes(*args, **kwargs)]

    def get_snapshots(self, *args: Any, **kwargs: Any) -> Any:
        return [objects.Snapshot(None, **columns(kept)) for kept in super().get_snapshots(*args, **kwargs)]

    def get_connections(self, *args: Any, **kwargs: Any) -> Any:
        found = super().get_connections(*args, **kwargs)
        return [objects.Connection("here", **columns(kept)) for kept in found]


def columns(kept: Any) -> dict[str, Any]:
    known = [name for name in kept._ovo.fields if kept._ovo.obj_attr_is_set(name)]
    related = ("snapshots", "volume_attachment", "volume_type", "volume", "glance_metadata")
    return {name: getattr(kept._ovo, name) for name in known if name not in related}


@pytest.mark.parametrize("storage", [Keeping, KeepingCinders, KeepingColumns])
def test_an_object_that_the_plugin_has_marked_as_deleted_does_not_exist(storage: Any) -> None:
    plugin = storage()
    library = Library(persistence_config={"storage": plugin})
    volume = library.backend("here", volume_driver=NOTHING).create_volume(1)
    snapshot, connection = volume.create_snapshot("s"), volume.connect(CONNECTOR)
    connection.disconnect()
    snapshot.delete()
    volume.delete()
    found = library.persistence
    assert found.get_volumes() == found.get_volumes(volume_id=volume.id) == []
    assert not [*found.get_snapshots(), *found.get_connections()]
    with default.serving(library):
        assert [kept.status for kept in plugin.get_volumes()] == ["deleted"]
        assert all(kept._ovo.deleted and kept._ovo.deleted_at for kept in plugin.get_volumes())
    library.close()


def test_what_another_program_has_changed_in_an_object_is_kept(library: Library, plugin: Any) -> None:
    """Such as a program with cinderlib, which knows nothing of the additional key."""
    backend = library.backend("here", volume_driver=NOTHING)
    made = backend.create_volume(1, name="data", description="ours", metadata={"a": "b"})
    snapshot, connection = made.create_snapshot("s", "ours"), made.connect(CONNECTOR)
    before = [library.store.get(*key) for key in _all(made, snapshot, connection)]
    with default.serving(library):
        (volume,) = plugin.get_volumes()
        _store(plugin.set_volume, volume, display_description="theirs", size=2, replication_status="enabled")
        (found,) = plugin.get_snapshots()
        _store(plugin.set_snapshot, found, display_description="theirs")
        (attached,) = plugin.get_connections()
        info: Any = attached._ovo.connection_info
        changed = {**info["conn"], "data": {"target": "new"}}
        _store(plugin.set_connection, attached, connection_info={**info, "conn": changed, "device": {"path": "/dev/x"}})
    again = library.volume(made.id)
    assert (again.description, again.size, again._ovo.replication_status) == ("theirs", 2, "enabled")
    assert (again.name, again.metadata, again.created_at) == ("data", {"a": "b"}, made.created_at)
    assert library.snapshot(snapshot.id).description == "theirs"
    info = dict(library.store.get(records.Attachment, connection.id).connection_info)
    assert (info["data"]["target"], info["device"]) == ("new", {"path": "/dev/x"})
    for record in before:
        with pytest.raises(errors.StaleRecord):
            library.store.replace(record)


def _store(store: Any, handle: Any, **values: Any) -> None:
    handle._ovo._changed_fields = set()
    for name, value in values.items():
        setattr(handle._ovo, name, value)
    handle._ovo._changed_fields = set(values)
    store(_reread(handle))


def _strip(plugin: Any, library: Library) -> None:
    """Remove the remainder from all stored objects."""
    with default.serving(library):
        for handle in plugin.get_volumes():
            handle._ovo.admin_metadata = {}
            handle._ovo._changed_fields = {"admin_metadata"}
            plugin.set_volume(_reread(handle))
        for handle in plugin.get_snapshots():
            handle._ovo.metadata = {}
            handle._ovo._changed_fields = {"metadata"}
            plugin.set_snapshot(_reread(handle))
        for handle in plugin.get_connections():
            info = handle._ovo.connection_info
            handle._ovo.connection_info = {
                **info,
                "conn": {k: v for k, v in info["conn"].items() if k != "csi-cinderlib"},
            }
            handle._ovo._changed_fields = {"connection_info"}
            plugin.set_connection(_reread(handle))


def _reread(handle: Any) -> Any:
    changed = set(handle._ovo._changed_fields)
    again = type(handle)._load(handle.backend, handle._ovo)
    again._ovo._changed_fields = changed
    for name, value in vars(handle).items():
        vars(again).setdefault(name, value)
    return again
