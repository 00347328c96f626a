"""Values that are set and not stored yet, while other threads and other objects of the record store theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Library
from csi_cinderlib.errors import StaleRecord
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Status
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING


@pytest.fixture
def library() -> Iterator[Library]:
    yield from a_library(MemoryStore())


def a_library(store: MemoryStore) -> Iterator[Library]:
    made = Library(persistence_config={"storage": store})
    yield made
    made.close()


@pytest.fixture
def volume(library: Library) -> Any:
    return library.backend("here", volume_driver=NOTHING).create_volume(1)


def in_a_thread(change: Callable[[], object]) -> None:
    thread = threading.Thread(target=change)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def interrupted(handle: Any, method: str, change: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the change in another thread at the end of the method's first call."""
    original = getattr(type(handle), method)
    begun: list[bool] = []

    def call(self: Any, *arguments: Any) -> Any:
        answer = original(self, *arguments)
        if self is handle and not begun:
            begun.append(True)
            in_a_thread(change)
        return answer

    monkeypatch.setattr(type(handle), method, call)


def test_a_save_keeps_what_another_thread_saves_meanwhile(
    library: Library, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume.metadata["a"] = "1"

    def save_too() -> None:
        volume.metadata["b"] = "1"
        volume.save()

    interrupted(volume, "_to_change", save_too, monkeypatch)
    volume.save()
    assert library.volume(volume.id).metadata == {"a": "1", "b": "1"}


def test_an_object_that_is_made_during_a_save_shows_it(
    library: Library, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = library.volume(volume.id)
    volume.metadata["b"] = "1"
    interrupted(other, "_make", volume.save, monkeypatch)
    other.metadata["a"] = "1"
    other.save()
    assert library.volume(volume.id).metadata == {"a": "1", "b": "1"}


def test_a_value_set_after_another_was_shown_replaces_it(library: Library, volume: Any) -> None:
    other = library.volume(volume.id)
    other.metadata["pending"] = "1"
    volume.display_description = "first"
    volume.save()
    assert other.display_description == "first"
    other.display_description = ""
    other.save()
    stored = library.volume(volume.id)
    assert (stored.display_description, stored.metadata) == ("", {"pending": "1"})


def test_a_key_that_was_removed_after_a_save_stays_removed(library: Library, volume: Any) -> None:
    other = library.volume(volume.id)
    volume.metadata["a"] = "1"
    other.display_description = "pending"
    volume.save()
    del volume.metadata["a"]
    volume.save()
    other.save()
    assert library.volume(volume.id).metadata == {}


def test_conflicting_values_do_not_keep_a_volume_connected() -> None:
    store = MemoryStore()
    with contextmanager(a_library)(store) as library, contextmanager(a_library)(store) as another:
        volume = library.backend("here", volume_driver=NOTHING).create_volume(1)
        another.backend("here", volume_driver=NOTHING)
        connection = volume.connect(CONNECTOR)
        other = another.connection(connection.id)
        connection.connection_info["user"] = "a"
        other.connection_info["user"] = "b"
        connection.save()
        with pytest.raises(StaleRecord, match="user"):
            other.save()
        other.disconnect()
        assert store.page(records.Attachment).records == ()


def test_a_volume_that_is_declared_usable_is_not_removed_by_a_later_clean_up(library: Library, volume: Any) -> None:
    store = library.store
    store.replace(replace(store.get(records.Volume, volume.id), status=Status.ERROR, unfinished=True, message="why"))
    volume.refresh()
    volume.status = "available"
    volume.save()
    record = store.get(records.Volume, volume.id)
    assert (record.status, record.unfinished, record.message) == (Status.AVAILABLE, False, "")
