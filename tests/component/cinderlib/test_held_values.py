"""Values that a program holds: dictionaries of an object, changes by several threads, and objects of a former record."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library, Volume
from csi_cinderlib.cinderlib.held import HeldObjects
from csi_cinderlib.errors import AlreadyExists
from csi_cinderlib.model import records
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, Failing, storage

OPERATIONS: dict[str, Callable[[Volume], object]] = {
    "extend": lambda volume: volume.extend(volume.size + 1),
    "connect": lambda volume: volume.connect(CONNECTOR),
    "save": lambda volume: volume.save(),
    "refresh": lambda volume: volume.refresh(),
}
DICTIONARIES: dict[str, Callable[[Any], Any]] = {
    "metadata": lambda volume: volume.metadata,
    "admin_metadata": lambda volume: volume.admin_metadata,
    "extra_specs": lambda volume: volume.volume_type.extra_specs,
    "qos_specs": lambda volume: volume.volume_type.qos_specs.specs,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", DICTIONARIES)
def test_a_dictionary_taken_before_an_operation_can_be_changed_and_saved_after_it(
    fake: Backend, library: Library, operation: str, name: str
) -> None:
    volume = fake.create_volume(1, metadata={"a": "1"}, extra_specs={"a": "1"}, qos_specs={"a": "1"})
    held = DICTIONARIES[name](volume)
    OPERATIONS[operation](volume)
    held["b"] = "2"
    volume.save()
    again = DICTIONARIES[name](library.volume(volume.id))
    assert (again["b"], held == again) == ("2", True)


def test_metadata_of_a_snapshot_taken_before_save_can_be_changed_after_it(fake: Backend, library: Library) -> None:
    snapshot = fake.create_volume(1).create_snapshot(metadata={"a": "1"})
    held = snapshot.metadata
    snapshot.save()
    held["b"] = "2"
    snapshot.save()
    assert library.snapshot(snapshot.id).metadata == {"a": "1", "b": "2"}


def test_refresh_discards_changes_of_a_held_dictionary(fake: Backend) -> None:
    volume = fake.create_volume(1, metadata={"a": "1"}, extra_specs={"a": "1"})
    metadata, specs = volume.metadata, volume.volume_type.extra_specs
    metadata["b"] = specs["b"] = "2"
    volume.refresh()
    assert (metadata, specs, volume.metadata) == ({"a": "1"}, {"a": "1"}, {"a": "1"})


def test_unsaved_changes_survive_an_operation(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1, metadata={"a": "1"}, extra_specs={"a": "1"})
    volume.metadata["b"] = volume.volume_type.extra_specs["b"] = "2"
    volume.connect(CONNECTOR)
    volume.save()
    again = library.volume(volume.id)
    assert (again.metadata["b"], again.volume_type.extra_specs["b"]) == ("2", "2")


def test_values_set_by_another_thread_during_save_are_stored_by_its_own_save() -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        volume = library.backend("fake", volume_driver=NOTHING).create_volume(1, extra_specs={"a": "1"})

        def set_meanwhile(call: str, _record: Any) -> bool:
            if call == "replace":
                volume.metadata["second"] = volume.volume_type.extra_specs["second"] = "2"
                volume.display_description = "second"
            return False

        volume.metadata["first"] = "1"
        store.fails = set_meanwhile
        volume.save()
        store.fails = lambda _call, _record: False
        volume.save()
        record = store.get(records.Volume, volume.id)
        assert record.metadata == {"first": "1", "second": "2"}
        assert record.type is not None
        assert record.type.extra_specs == {"a": "1", "second": "2"}
        assert record.fields["display_description"] == "second"
    finally:
        library.close()


@pytest.fixture
def stored(tmp_path: Path, request: pytest.FixtureRequest) -> Backend:
    library = Library(persistence_config=storage("db", tmp_path))
    request.addfinalizer(library.close)
    return library.backend("fake", volume_driver=NOTHING)


def test_an_object_of_a_deleted_volume_never_becomes_the_newer_volume_with_its_id(stored: Backend) -> None:
    library = stored._library
    volume = stored.create_volume(1, id="reused")
    older = library.volume("reused")
    volume.delete()
    newer = stored.create_volume(1, id="reused")
    newer.extend(2)
    newer.metadata["a"] = "1"
    newer.save()
    older.delete()
    assert stored.driver.volumes == {"reused": 2}


def test_the_object_of_a_refused_creation_never_becomes_the_existing_volume(stored: Backend) -> None:
    volume = stored.create_volume(1, id="taken")
    with pytest.raises(AlreadyExists) as refused:
        stored.create_volume(1, id="taken")
    volume.extend(2)
    refused.value.resource.delete()  # type: ignore[attr-defined]  # what the library puts there
    assert stored.driver.volumes == {"taken": 2}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_follows_a_change_of_the_store(stored: Backend, copied: Callable[[Volume], Volume]) -> None:
    twin = copied(stored.create_volume(1))
    stored._library.set_persistence({"storage": "memory"})
    twin.extend(2)
    assert stored._library.volume(twin.id).size == 2


def test_save_after_a_change_of_the_store_and_back_keeps_what_others_have_stored(
    stored: Backend, tmp_path: Path
) -> None:
    library = stored._library
    volume = stored.create_volume(1)
    library.set_persistence({"storage": "memory"})
    library.set_persistence(storage("db", tmp_path))
    other = library.volume(volume.id)
    other.metadata["other"] = "1"
    other.extend(5)
    volume.display_description = "x"
    volume.save()
    again = library.volume(volume.id)
    assert (again.size, dict(again.metadata), again.description) == (5, {"other": "1"}, "x")


class _Held:
    def __init__(self) -> None:
        self._record = records.KeyValue(id="one", value="")


def test_objects_may_be_created_while_the_objects_of_a_record_are_listed() -> None:
    held, first, second = HeldObjects(), _Held(), _Held()
    for one in (first, second):
        held.add(one)
    third = _Held()
    for one in held:
        if one is second:
            held.add(third)
    assert held.beside(first) == [second, third]
