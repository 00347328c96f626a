"""Look-ups in a store in memory return the existing objects, with what is stored now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from csi_cinderlib.cinderlib import Backend, Library, exception
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Status
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.cinderlib.conftest import NOTHING


@pytest.fixture
def backend() -> Iterator[Backend]:
    library = Library()
    yield library.backend("array", volume_driver=NOTHING)
    library.close()


def _stored(backend: Backend, id: str) -> records.Volume:
    return backend._library.store.get(records.Volume, id)


def test_a_look_up_shows_a_change_that_another_part_of_the_program_has_stored(backend: Backend) -> None:
    volume = backend.create_volume(1)
    backend._library.store.replace(replace(_stored(backend, volume.id), fields={"display_description": "changed"}))
    assert backend._library.volume(volume.id) is volume
    assert volume.description == "changed"


def test_a_list_shows_changed_volumes_and_omits_removed_ones(backend: Backend) -> None:
    changed, removed, kept = (backend.create_volume(1, name=name) for name in ("changed", "removed", "kept"))
    store = backend._library.store.current
    store.replace(replace(_stored(backend, changed.id), name="renamed"))
    store.remove(_stored(backend, removed.id))
    assert {volume.name: volume for volume in backend.volumes_filtered()} == {"renamed": changed, "kept": kept}
    with pytest.raises(exception.VolumeNotFound):
        backend._library.volume(removed.id)


def test_a_list_omits_volumes_that_are_kept_for_their_snapshots_and_unreadable_ones(backend: Backend) -> None:
    deleted, torn, kept = (backend.create_volume(1) for _ in range(3))
    store = backend._library.store.current
    assert isinstance(store, MemoryStore)
    store.replace(replace(_stored(backend, deleted.id), status=Status.DELETED))
    with store._lock:
        store._put_raw(records.Volume, torn.id, "9-torn", '{"backend": "array"}')
    assert backend.volumes_filtered() == [kept]


def test_a_look_up_of_an_unchanged_volume_keeps_what_was_set_and_not_yet_saved(backend: Backend) -> None:
    volume = backend.create_volume(1)
    volume._ovo.display_description = "not yet saved"
    assert backend._library.volume(volume.id).description == "not yet saved"
