"""Objects that were deleted, copied or interrupted: no call brings one back, or touches another object with the same id."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import csi_cinderlib.cinderlib as cinderlib
from csi_cinderlib.cinderlib import Backend, Library, exception
from csi_cinderlib.errors import InvalidRequest, OperationPending
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Status
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING, storage


@pytest.fixture(params=["memory", "db"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    made = Library(persistence_config=storage(request.param, tmp_path))
    yield made
    made.close()


@pytest.fixture
def fake(library: Library) -> Backend:
    return library.backend("fake", volume_driver=NOTHING)


@pytest.fixture(params=["volume", "snapshot"])
def handle(request: pytest.FixtureRequest, fake: Backend) -> Any:
    volume = fake.create_volume(2)
    return volume if request.param == "volume" else volume.create_snapshot()


def second(library: Library, handle: Any) -> Any:
    """Another object for the same record, as another process has."""
    library.handles = type(library.handles)(library, one_each=False)
    return library.volume(handle.id) if isinstance(handle, cinderlib.Volume) else library.snapshot(handle.id)


# --- deletion


def test_a_second_deletion_does_nothing(handle: Any, fake: Backend) -> None:
    handle.delete()
    at, calls = handle.deleted_at, dict(fake.driver.calls)
    handle.delete()
    handle._ovo.status, handle._ovo.deleted = "error", False
    handle.delete()
    assert (handle.status, handle.deleted, handle.deleted_at) == ("deleted", True, at)
    assert at is not None
    assert fake.driver.calls == calls


def test_deletion_of_what_another_process_has_deleted_does_nothing(handle: Any, library: Library) -> None:
    other = second(library, handle)
    handle.delete()
    other.delete()
    assert (other.status, other.deleted) == ("deleted", True)


def test_an_id_that_is_used_again_is_not_touched(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    stale = [second(library, volume) for _ in range(5)]
    volume.delete()
    newer = fake.create_volume(3, id=volume.id, name="new")
    stale[0].delete()
    assert (stale[0].status, library.volume(volume.id).name) == ("deleted", "new")
    stale[1]._ovo.display_name = "old"
    for call in (
        stale[1].save,
        lambda: stale[2].extend(9),
        lambda: stale[3].connect(CONNECTOR),
        stale[4].create_snapshot,
    ):
        with pytest.raises(exception.VolumeNotFound):
            call()
    again = second(library, newer)
    assert (again.name, again.size, again.connections, again.snapshots) == ("new", 3, [], [])
    assert set(fake.driver.volumes) == {newer.id}


def test_an_id_of_a_snapshot_that_is_used_again_is_not_touched(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    snapshot = volume.create_snapshot()
    stale = second(library, snapshot)
    snapshot.delete()
    volume.create_snapshot("new", id=snapshot.id)
    stale.delete()
    assert library.snapshot(snapshot.id).name == "new"


def test_a_deleted_volume_that_is_created_again_is_a_new_one(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    stale = second(library, volume)
    volume.delete()
    volume.create()
    assert (volume.status, volume.deleted, volume.deleted_at) == ("available", False, None)
    stale.delete()
    assert library.volume(volume.id).status == "available"


def test_operations_on_a_deleted_volume_are_refused(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    volume.delete()
    for call in (volume.save, lambda: volume.extend(2), lambda: volume.connect(CONNECTOR), volume.clone):
        with pytest.raises(exception.VolumeNotFound):
            call()
    assert library.persistence.get_volumes() == []


# --- extension


@pytest.mark.parametrize("size", [1, 0, -3, "1", 2.5, None, True])
def test_extension_to_a_smaller_or_wrong_size_is_refused(fake: Backend, size: Any) -> None:
    volume = fake.create_volume(2)
    with pytest.raises(InvalidRequest, match="size: must be") as refused:
        volume.extend(size)
    assert refused.value.field == "size"
    assert (volume.size, volume.status) == (2, "available")
    assert fake.driver.calls["extend_volume"] == 0


def test_extension_to_the_present_size_does_nothing(fake: Backend) -> None:
    volume = fake.create_volume(2)
    assert volume.extend(2) == 2 * 1024**3
    assert fake.driver.calls["extend_volume"] == 0


# --- interruptions


def interrupted(library: Library, handle: Any, status: Status, **values: Any) -> Any:
    """The object of a record whose process died in the middle of an operation."""
    store = library.store
    stored = store.get(type(handle._record), handle.id)
    store.replace(replace(stored, status=status, owner="a-process-that-died", **values))
    found = second(library, handle)
    found.refresh()
    return found


def test_a_copy_of_a_volume_whose_extension_was_interrupted_says_how_to_finish_it(
    fake: Backend, library: Library
) -> None:
    volume = interrupted(library, fake.create_volume(2), Status.EXTENDING, target_size=GiB(5))
    assert volume.status == "extending"
    for call in (volume.clone, volume.create_snapshot):
        with pytest.raises(exception.InvalidVolume, match=r"to 5 GiB was interrupted; call extend\(5\)"):
            call()
    assert volume.extend(5) == 5 * 1024**3
    assert volume.clone().size == 5
    assert volume.create_snapshot().volume_size == 5


def test_what_was_created_in_part_only_says_how_to_repeat_it(handle: Any, library: Library) -> None:
    partly = interrupted(library, handle, Status.CREATING)
    uses = [partly.create, partly.clone if isinstance(partly, cinderlib.Volume) else partly.create_volume]
    for call in uses:
        with pytest.raises(exception.InvalidVolume, match=r"creation was interrupted; call delete\(\)"):
            call()
    partly.delete()
    partly.create()
    assert partly.status == "available"


# --- copies of objects


def test_a_deep_copy_is_independent(fake: Backend) -> None:
    volume = fake.create_volume(1, metadata={"a": "b"})
    volume.create_snapshot("s")
    volume.connect(CONNECTOR)
    twin = copy.deepcopy(volume)
    assert (twin.id, twin.backend, twin.json) == (volume.id, fake, volume.json)
    assert twin.snapshots[0].volume is twin
    assert twin.snapshots[0] is not volume.snapshots[0]
    twin._ovo.metadata["a"] = "changed"
    assert volume.metadata == {"a": "b"}
    twin.save()
    volume.refresh()
    assert volume.metadata == {"a": "changed"}


def test_parts_can_be_copied_deeply(fake: Backend) -> None:
    volume = fake.create_volume(1)
    snapshot, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    for part in (snapshot, connection):
        twin = copy.deepcopy(part)
        assert (twin.id, twin.volume.id) == (part.id, volume.id)
        assert twin.volume is not volume


def test_a_shallow_copy_shares_cinders_object_as_in_cinderlib(fake: Backend) -> None:
    volume = fake.create_volume(1)
    volume._ovo  # noqa: B018  # cinderlib has it from the start
    assert copy.copy(volume)._ovo is volume._ovo


def test_equality_is_identity_as_in_cinderlib(fake: Backend) -> None:
    volume, other = fake.create_volume(1), fake.create_volume(1)
    assert volume in [other, volume]
    assert other not in [volume]
    assert len({volume, other}) == 2


def test_an_object_cannot_be_pickled_and_says_what_to_use(handle: Any) -> None:
    with pytest.raises(TypeError, match="cannot be pickled; use its `dumps`"):
        pickle.dumps(handle)


# --- JSON for cinderlib


def test_json_can_be_loaded_by_cinderlib(fake: Backend) -> None:
    """cinderlib finds the back end of a snapshot by its field `progress`, and requires versions that it knows."""
    volume = fake.create_volume(1)
    snapshot = volume.create_snapshot()
    data = json.loads(volume.dumps)["ovo"]["versioned_object.data"]
    assert snapshot.progress == fake.id
    assert {name: data[name] for name in ("cluster", "group", "consistencygroup", "updated_at")} == dict.fromkeys(
        ("cluster", "group", "consistencygroup", "updated_at")
    )
    assert (data["use_quota"], data["shared_targets"], data["display_name"]) == (True, True, "")
    assert data["volume_attachment"]["versioned_object.version"] == "1.1"


@pytest.mark.parametrize("name", ["snapshots", "connections"])
def test_a_part_contains_its_volume_with_the_other_parts(fake: Backend, library: Library, name: str) -> None:
    volume = fake.create_volume(1)
    for _ in range(2):
        volume.create_snapshot()
    volume.connect(CONNECTOR)
    part = getattr(volume, name)[0]
    described = json.loads(part.dumps)["ovo"]["versioned_object.data"]["volume"]["versioned_object.data"]
    listed = {
        item["versioned_object.data"]["id"]
        for key in ("snapshots", "volume_attachment")
        for item in described[key]["versioned_object.data"]["objects"]
    }
    assert listed == {*(other.id for other in volume.snapshots), *(other.id for other in volume.connections)} - {
        part.id
    }
    loaded = library.load(part.dumps)
    assert loaded in getattr(loaded.volume, name)
    assert len(getattr(loaded.volume, name)) == len(getattr(volume, name))


def test_json_does_not_replace_a_record_that_another_process_works_on() -> None:
    config = {"storage": MemoryStore()}
    library, other = Library(persistence_config=config), Library(persistence_config=config)
    try:
        volume = library.backend("fake", volume_driver=NOTHING).create_volume(1)
        text = volume.dumps
        library.store.replace(replace(volume._record, status=Status.DELETING, owner=other.owner))
        with pytest.raises(OperationPending, match="is being processed by"):
            library.load(text, save=True)
    finally:
        library.close()
        other.close()


def test_a_record_of_the_driver_keeps_its_own_progress(fake: Backend, library: Library) -> None:
    snapshot = fake.create_volume(1).create_snapshot()
    snapshot._ovo.progress = "40%"
    snapshot.save()
    assert library.store.get(records.Snapshot, snapshot.id).fields["progress"] == "40%"
    assert second(library, snapshot).progress == "40%"
