"""Two objects of one record change its values: different keys are merged, and a conflict is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library
from csi_cinderlib.errors import StaleRecord
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING

DICTIONARIES = ("metadata", "admin_metadata", "glance_metadata")


class Several(MemoryStore):
    """A store that returns a new object for each look-up, as databases do."""

    traits = dataclasses.replace(MemoryStore.traits, durable=True)


@pytest.fixture
def library() -> Iterator[Library]:
    made = Library(persistence_config={"storage": Several()})
    yield made
    made.close()


@pytest.fixture
def other(library: Library) -> Iterator[Library]:
    """Another set-up of the same store, as in another process."""
    made = Library(persistence_config={"storage": library.store.current})
    yield made
    made.close()


@pytest.fixture
def stored(library: Library) -> Backend:
    return library.backend("fake", volume_driver=NOTHING)


@pytest.fixture(params=["one set-up", "two set-ups"])
def pair(request: pytest.FixtureRequest, stored: Backend, library: Library, other: Library) -> tuple[Any, Any]:
    """Two objects of a volume, read at the same time."""
    volume = stored.create_volume(1, metadata={"a": "1", "b": "1"}, extra_specs={"x": "1"})
    if request.param == "one set-up":
        return volume, library.volume(volume.id)
    other.backend("fake", volume_driver=NOTHING)
    return volume, other.volume(volume.id)


@pytest.mark.parametrize("name", DICTIONARIES)
def test_different_keys_of_a_dictionary_are_merged(pair: tuple[Any, Any], library: Library, name: str) -> None:
    first, second = pair
    for volume, key in ((first, "mine"), (second, "theirs")):
        setattr(volume, name, {**(getattr(volume, name) or {}), key: "1"})
    first.save()
    second.save()
    first.refresh()
    assert getattr(second, name) == getattr(first, name) == getattr(library.volume(first.id), name)
    assert {"mine", "theirs"} <= getattr(second, name).keys()


def test_a_removed_key_and_a_changed_one_are_merged(pair: tuple[Any, Any], library: Library) -> None:
    first, second = pair
    del first.metadata["a"]
    second.metadata["b"] = "2"
    first.save()
    second.save()
    assert library.volume(first.id).metadata == second.metadata == {"b": "2"}


def test_extra_specs_are_merged(pair: tuple[Any, Any], library: Library) -> None:
    first, second = pair
    first.volume_type.extra_specs["y"] = "1"
    second.volume_type.extra_specs["z"] = "1"
    first.save()
    second.save()
    assert library.volume(first.id).volume_type.extra_specs == {"x": "1", "y": "1", "z": "1"}


@pytest.mark.parametrize("values", [{"metadata": {"a": "2", "b": "1"}}, {"display_description": "2"}, {"size": 2}])
def test_a_conflict_is_refused_until_the_object_is_refreshed(
    pair: tuple[Any, Any], library: Library, values: dict[str, Any]
) -> None:
    first, second = pair
    [(name, value)] = values.items()
    changed: Any = {"metadata": {"a": "3", "b": "1"}, "display_description": "3", "size": 3}[name]
    setattr(first._ovo, name, value)
    setattr(second._ovo, name, changed)
    first.save()
    for _ in range(2):
        with pytest.raises(StaleRecord, match="refresh") as refused:
            second.save()
    assert refused.value.resource is second  # type: ignore[attr-defined]  # what the library puts there
    assert getattr(library.volume(first.id)._ovo, name) == value
    second.refresh()
    setattr(second._ovo, name, changed)
    second.save()
    assert getattr(library.volume(first.id)._ovo, name) == changed


def test_an_operation_does_not_overwrite_a_conflicting_value(pair: tuple[Any, Any], library: Library) -> None:
    first, second = pair
    first.metadata["a"], second.metadata["a"] = "2", "3"
    first.save()
    with pytest.raises(StaleRecord, match=r"metadata\[a\]"):
        second.extend(2)
    assert (library.volume(first.id).metadata["a"], library.volume(first.id).size) == ("2", 1)


def test_the_same_change_on_both_sides_is_no_conflict(pair: tuple[Any, Any]) -> None:
    first, second = pair
    first.metadata["a"] = second.metadata["a"] = "2"
    first.save()
    second.save()
    assert second.metadata == {"a": "2", "b": "1"}


def test_metadata_of_a_snapshot_is_merged(stored: Backend, library: Library) -> None:
    first = stored.create_volume(1).create_snapshot()
    second = library.snapshot(first.id)
    first._ovo.metadata, second._ovo.metadata = {"mine": "1"}, {"theirs": "1"}
    first.save()
    second.save()
    assert library.snapshot(first.id).metadata == {"mine": "1", "theirs": "1"}


def test_connection_info_is_merged(stored: Backend, library: Library) -> None:
    first = stored.create_volume(1).connect(CONNECTOR)
    second = library.connection(first.id)
    first.connector_info["mine"], second.connector_info["theirs"] = "1", "1"
    first.connection_info["note"] = {"mine": 1}
    second.connection_info["note"] = {"theirs": 1}
    first.save()
    second.save()
    again: Any = library.connection(first.id)
    assert (again.connector_info["mine"], again.connector_info["theirs"]) == ("1", "1")
    assert again.connection_info["note"] == {"mine": 1, "theirs": 1}
    assert second.connection_info == again.connection_info


def test_a_conflict_in_connection_info_is_refused(stored: Backend, library: Library) -> None:
    first = stored.create_volume(1).connect(CONNECTOR)
    second = library.connection(first.id)
    first.connector_info["ip"], second.connector_info["ip"] = "192.0.2.1", "192.0.2.2"
    first.save()
    with pytest.raises(StaleRecord, match=r"connector\[ip\]"):
        second.save()
    second.refresh()
    assert second.connector_info["ip"] == "192.0.2.1"
