"""What a creation that failed leaves behind is deleted by its `resource`, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Backend, Library, exception
from csi_cinderlib.model import records
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.cinderlib.conftest import NOTHING, Failing


class ArrayAway(Exception):
    """A driver's own exception."""


def away(*_args: Any, **_kwargs: Any) -> None:
    raise ArrayAway("the array went away")


@pytest.mark.parametrize("kind", ["volume", "snapshot"])
def test_what_could_not_be_cleaned_up_is_deleted_later(fake: Backend, library: Library, kind: str) -> None:
    volume = fake.create_volume(1) if kind == "snapshot" else None
    driver = fake.driver
    original = getattr(driver, f"delete_{kind}")
    setattr(driver, f"create_{kind}", away)
    setattr(driver, f"delete_{kind}", away)
    with pytest.raises(ArrayAway) as failed:
        volume.create_snapshot() if volume else fake.create_volume(1)
    left = failed.value.resource  # type: ignore[attr-defined]  # what the library puts there
    record_kind: Any = records.Snapshot if volume else records.Volume
    assert (left.status, library.store.get(record_kind, left.id).status) == ("error", "error")
    with pytest.raises(ArrayAway):
        left.delete()
    asked: list[str] = []

    def delete(one: Any) -> None:
        asked.append(one.id)
        original(one)

    setattr(driver, f"delete_{kind}", delete)
    left.delete()
    assert (left.status, asked) == ("deleted", [left.id])
    with pytest.raises(errors.NotFound):
        library.store.get(record_kind, left.id)


@pytest.mark.parametrize("answers_afterwards", [True, False])
def test_a_volume_that_was_made_and_not_written_down_is_deleted(answers_afterwards: bool) -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        backend = library.backend("fake", volume_driver=NOTHING)
        made: list[str] = []

        def fails(call: str, record: Any) -> bool:
            return bool(backend.driver.volumes) and not made and (call == "replace" or not answers_afterwards)

        store.fails = fails
        with pytest.raises(errors.StoreUnavailable) as failed:
            backend.create_volume(1)
        left = failed.value.resource  # type: ignore[attr-defined]  # what the library puts there
        made.append(left.id)
        assert (left.status, set(backend.driver.volumes)) == ("error", {left.id})
        left.delete()
        assert (backend.driver.volumes, library.persistence.get_volumes()) == ({}, [])
    finally:
        library.close()


def test_whether_there_is_something_to_delete_the_store_must_say() -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store})
    try:
        backend = library.backend("fake", volume_driver=NOTHING)
        store.fails = lambda call, _record: call in ("add", "get")
        with pytest.raises(errors.StoreUnavailable) as failed:
            backend.create_volume(1)
        left = failed.value.resource  # type: ignore[attr-defined]  # what the library puts there
        with pytest.raises(errors.StoreUnavailable):
            left.delete()
        store.fails = lambda _call, _record: False
        left.delete()
        assert left.status == "deleted"
    finally:
        library.close()


def test_a_volume_of_the_same_id_is_left_alone(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    with pytest.raises(errors.AlreadyExists) as failed:
        fake.create_volume(2, id=volume.id)
    failed.value.resource.delete()  # type: ignore[attr-defined]  # what the library puts there
    assert library.store.get(records.Volume, volume.id).size == 1
    assert set(fake.driver.volumes) == {volume.id}
    volume.delete()
    with pytest.raises(exception.VolumeNotFound):
        library.volume(volume.id)


def test_what_failed_is_tried_again_by_another_process_while_the_first_lives() -> None:
    """A process that failed is no longer at work."""
    store = MemoryStore()
    library, other = (Library(persistence_config={"storage": store}) for _ in range(2))
    try:
        mine, theirs = (one.backend("fake", volume_driver=NOTHING) for one in (library, other))
        volume = mine.create_volume(1)
        mine.driver.delete_volume = away
        with pytest.raises(ArrayAway):
            volume.delete()
        assert volume.status == "error_deleting"
        theirs.volumes_filtered(volume_id=volume.id)[0].delete()
        assert other.persistence.get_volumes() == []
    finally:
        library.close()
        other.close()
