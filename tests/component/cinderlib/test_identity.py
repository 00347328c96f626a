"""When two handles are one object, what is loaded when, and several set-ups beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library, Volume
from tests.component.cinderlib.conftest import CONNECTOR, LEGACY, NOTHING, storage


@pytest.fixture
def on(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A back end in a set-up on that storage."""

    def made(name: str) -> Backend:
        library = Library(persistence_config=storage(name, tmp_path))
        request.addfinalizer(library.close)
        return library.backend("fake", volume_driver=NOTHING)

    return made


def test_in_memory_there_is_one_object_for_each_thing(on: Any) -> None:
    backend = on("memory")
    volume = backend.create_volume(1, name="x")
    snapshot, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    library = backend._library
    assert backend.volumes_filtered(volume_id=volume.id)[0] is volume
    assert backend.volumes == [volume]
    assert library.volume(volume.id) is volume
    assert library.snapshot(snapshot.id) is snapshot
    assert library.connection(connection.id) is connection
    assert (volume.snapshots, volume.connections) == ([snapshot], [connection])


def test_in_a_database_each_look_up_is_a_new_object_and_refresh_brings_an_older_one_up_to_date(on: Any) -> None:
    backend = on("db")
    volume = backend.create_volume(1)
    other = backend.volumes_filtered(volume_id=volume.id)[0]
    assert other is not volume
    assert (other.snapshots, other.connections) == ([], [])
    volume.extend(2)
    taken, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    assert (other.size, other.snapshots, other.connections) == (2, [], [])
    other.refresh()
    assert (other.size, other.status) == (2, "in-use")
    assert [one.id for one in other.snapshots] == [taken.id]
    assert [one.id for one in other.connections] == [connection.id]
    assert other.snapshots[0].volume is other
    assert other.connections[0].volume is other


def test_an_operation_on_an_older_object_works_on_what_is_stored(on: Any) -> None:
    backend = on("db")
    volume = backend.create_volume(1)
    other = backend._library.volume(volume.id)
    volume.extend(3)
    assert other.extend(4) == 4 * 1024**3
    assert (other.size, other.description) == (4, "")


def test_the_list_of_volumes_is_read_once_and_kept_up(backend: Backend) -> None:
    first = backend.create_volume(1)
    assert [one.id for one in backend.volumes] == [first.id]
    listed = backend.volumes
    second = backend.create_volume(1)
    assert {one.id for one in listed} == {first.id, second.id}
    first.delete()
    assert backend.volumes == [second]
    backend.refresh()
    assert [one.id for one in backend.volumes] == [second.id]


def test_objects_may_be_deleted_while_their_list_is_iterated(backend: Backend) -> None:
    """oVirt does so with connections."""
    for _ in range(3):
        volume = backend.create_volume(1)
        for number in range(3):
            volume.create_snapshot()
            volume.connect({**CONNECTOR, "host": f"node-{number}"})
    for volume in backend.volumes:
        for connection in volume.connections:
            connection.disconnect()
        for snapshot in volume.snapshots:
            snapshot.delete()
        assert (volume.connections, volume.snapshots) == ([], [])
        volume.delete()
    assert backend.volumes == []


def test_the_same_back_end_again_is_the_same_object_and_other_options_are_refused(library: Library) -> None:
    backend = library.backend("fake", volume_driver=NOTHING, nothing_port=1)
    assert library.backend("fake", volume_driver=NOTHING, nothing_port=1) is backend
    with pytest.raises(ValueError, match="fake already exists with a different configuration"):
        library.backend("fake", volume_driver=NOTHING, nothing_port=2)
    assert library.backends == {"fake": backend}


def test_a_driver_of_the_old_kind_gets_a_pool_named_as_the_back_end(library: Library) -> None:
    backend = library.backend("old", volume_driver=LEGACY)
    (pool,) = backend.stats(refresh=True)["pools"]
    assert (pool["pool_name"], pool["free_capacity_gb"]) == ("old", "unknown")
    assert "vendor_name" not in pool
    assert backend.pool_names == ("old",)
    assert backend.create_volume(1).host.endswith("@old#old")


def test_statistics_are_asked_for_again_only_on_demand(fake: Backend) -> None:
    fake.stats()
    before = fake.driver.calls["get_volume_stats"]
    assert fake.stats() is fake.stats()
    assert fake.driver.calls["get_volume_stats"] == before
    fake.stats(refresh="True")  # type: ignore[arg-type]  # oVirt hands its argument on as it is
    assert fake.driver.calls["get_volume_stats"] == before + 1


def test_a_pool_can_be_chosen(library: Library) -> None:
    backend = library.backend("two", volume_driver=NOTHING, nothing_pools=["a", "b"])
    assert backend.pool_names == ("a", "b")
    assert backend.create_volume(1, pool_name="b").host.endswith("@two#b")
    assert Volume(backend, pool_name="a").host.endswith("@two#a")


def test_two_set_ups_in_one_process_know_nothing_of_one_another(process_wide: Any, tmp_path: Path) -> None:
    process_wide.setup()
    ours = process_wide.Backend("array", volume_driver=NOTHING, nothing_pools=["x"])
    other = Library(persistence_config=storage("db", tmp_path), host="elsewhere", project_id="other")
    try:
        theirs = other.backend("array", volume_driver=NOTHING, nothing_pools=["y"])
        assert (ours.pool_names, theirs.pool_names) == (("x",), ("y",))
        mine, yours = ours.create_volume(1), theirs.create_volume(2)
        assert ours.volumes == [mine]
        assert [one.id for one in theirs.volumes] == [yours.id]
        assert (mine.project_id, yours.project_id) == ("cinderlib", "other")
        assert yours.host == "elsewhere@array#y"
        assert process_wide.Backend.backends == {"array": ours}
        assert process_wide.Volume.get_by_id(mine.id) is mine
        with pytest.raises(process_wide.exception.VolumeNotFound):
            process_wide.Volume.get_by_id(yours.id)
    finally:
        other.close()
    assert mine.extend(2) == 2 * 1024**3


def test_the_process_is_set_up_once_and_by_itself_when_need_be(process_wide: Any) -> None:
    assert process_wide.Backend.backends == {}
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    assert process_wide.Backend("fake", volume_driver=NOTHING) is backend
    with pytest.raises(RuntimeError, match="Already setup"):
        process_wide.setup()
    volume = process_wide.Volume("fake", size=2, name="by name")
    volume.create()
    assert process_wide.Volume.get_by_name("by name") == [volume]
    with pytest.raises(KeyError):
        process_wide.Volume("nowhere")


def test_metadata_can_move_to_another_store(process_wide: Any, tmp_path: Path) -> None:
    process_wide.setup()
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    backend.create_volume(1)
    process_wide.Backend.set_persistence(storage("db", tmp_path))
    assert process_wide.Backend("fake", volume_driver=NOTHING) is backend
    assert backend.volumes == []
