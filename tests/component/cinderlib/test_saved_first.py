"""`save` before `create`: the stored object is created in place, unless its creation has begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib import errors
from csi_cinderlib.cinderlib import Backend, Library, Snapshot, Volume, exception
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Status
from tests.component.cinderlib.conftest import NOTHING, Failing


def away(*_args: Any, **_kwargs: Any) -> None:
    raise RuntimeError("the array went away")


@pytest.mark.parametrize("pool", [False, True])
def test_a_saved_volume_is_created_with_its_values(backend: Backend, library: Library, pool: bool) -> None:
    volume = Volume(backend, backend.pool_names[0] if pool else None, name="a", metadata={"a": "1"})
    volume.save()
    volume.metadata["b"] = "2"
    volume.create()
    again = library.volume(volume.id)
    assert (again.status, again.name, again.metadata) == ("available", "a", {"a": "1", "b": "2"})
    assert [known.id for known in library.persistence.get_volumes()] == [volume.id]
    volume.delete()


def test_a_saved_volume_is_created_by_another_object(backend: Backend, library: Library) -> None:
    volume = Volume(backend, name="a")
    volume.save()
    other = library.volume(volume.id)
    other.create()
    assert library.volume(volume.id).status == "available"
    with pytest.raises(errors.AlreadyExists):
        library.volume(volume.id).create()
    other.delete()
    assert library.persistence.get_volumes() == []


def test_a_saved_snapshot_is_created(backend: Backend, library: Library) -> None:
    volume = backend.create_volume(1)
    snapshot = Snapshot(volume, name="monday")
    snapshot.save()
    snapshot.create()
    assert library.snapshot(snapshot.id).status == "available"
    snapshot.delete()
    volume.delete()


def test_a_saved_volume_is_deleted_without_being_created(backend: Backend, library: Library) -> None:
    volume = Volume(backend)
    volume.save()
    volume.delete()
    assert library.persistence.get_volumes() == []


def test_a_saved_volume_cannot_be_copied_before_it_is_created(fake: Backend) -> None:
    volume = Volume(fake)
    volume.save()
    with pytest.raises(exception.InvalidVolume, match=r"call create\(\)"):
        volume.create_snapshot()


def test_a_failed_creation_leaves_no_record_and_may_be_repeated(fake: Backend, library: Library) -> None:
    volume = Volume(fake)
    volume.save()
    original, fake.driver.create_volume = fake.driver.create_volume, away
    with pytest.raises(RuntimeError):
        volume.create()
    assert library.persistence.get_volumes() == []
    fake.driver.create_volume = original
    volume.create()
    assert library.volume(volume.id).status == "available"


@pytest.mark.parametrize("owner", ["gone:place:1:1:1", ""])
def test_a_creation_that_has_begun_is_not_repeated(fake: Backend, library: Library, owner: str) -> None:
    volume = fake.create_volume(1)
    stored = library.store.get(records.Volume, volume.id)
    library.store.replace(replace(stored, status=Status.CREATING, owner=owner))
    with pytest.raises(exception.InvalidVolume, match="was interrupted"):
        library.volume(volume.id).create()
    assert library.store.get(records.Volume, volume.id).status is Status.CREATING


def test_a_failure_that_could_not_be_stored_is_no_saved_volume(tmp_path: Path) -> None:
    store = Failing()
    library = Library(persistence_config={"storage": store}, state_dir=tmp_path / "state")
    try:
        backend = library.backend("fake", volume_driver=NOTHING)
        store.fails = lambda call, record: (
            call == "replace" and record.status is not Status.CREATING and record.owner == ""
            and bool(backend.driver.volumes) and record.message != ""
        ) or (call == "replace" and record.status is Status.AVAILABLE)  # fmt: skip
        with pytest.raises(errors.StoreUnavailable) as failed:
            backend.create_volume(1)
        left = failed.value.resource  # type: ignore[attr-defined]  # what the library puts there
        store.fails = lambda _call, _record: False
        assert store.get(records.Volume, left.id).status is Status.ERROR
        with pytest.raises(errors.AlreadyExists):
            left.create()
        left.delete()
        assert backend.driver.volumes == {}
    finally:
        library.close()
