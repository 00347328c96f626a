"""What the list of volumes reads, and what a listed volume shows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest

from csi_cinderlib.cinderlib import Backend, Library
from csi_cinderlib.errors import CorruptRecord
from csi_cinderlib.model import records
from csi_cinderlib.model.records import Attachment
from csi_cinderlib.persistence.api import Traits
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING
from tests.support.fakes.stores import ObservedStore


class LastingStore(ObservedStore):
    """Counts as a database, so that each look-up returns a new object."""

    traits = Traits(durable=True, shared=True)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


@pytest.fixture
def library(store: LastingStore) -> Iterator[Library]:
    made = Library(persistence_config={"storage": store})
    yield made
    made.close()


@pytest.fixture
def listed(library: Library) -> Backend:
    return library.backend("fake", volume_driver=NOTHING)


@pytest.mark.parametrize("count", [1, 40])
def test_the_json_of_a_list_takes_two_queries_for_any_number_of_volumes(
    listed: Backend, store: LastingStore, count: int
) -> None:
    for _ in range(count):
        listed.create_volume(1).connect(CONNECTOR)
    store.calls.clear()
    shown = [volume.json for volume in listed.volumes_filtered()]
    assert store.calls == ["page", "page"]
    assert [data["ovo"]["versioned_object.data"]["status"] for data in shown] == ["in-use"] * count


@pytest.mark.parametrize("count", [1, 40])
def test_the_dump_of_a_back_end_takes_four_queries_for_any_number_of_volumes(
    library: Library, listed: Backend, store: LastingStore, count: int
) -> None:
    for _ in range(count):
        volume = listed.create_volume(1)
        volume.connect(CONNECTOR)
        volume.create_snapshot()
    listed._volumes = None
    store.calls.clear()
    (dumped,) = library.dump()
    assert store.calls == ["page"] * 4
    for data in (volume["ovo"]["versioned_object.data"] for volume in dumped["volumes"]):
        for name in ("snapshots", "volume_attachment"):
            assert len(data[name]["versioned_object.data"]["objects"]) == 1


def test_a_dump_keeps_what_was_loaded_before(library: Library, listed: Backend) -> None:
    volume = listed.create_volume(1)
    snapshot, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    (held,) = listed.volumes_filtered()
    listed._volumes = [held]
    snapshots = held.snapshots
    library.dump()
    assert held.snapshots is snapshots
    assert ([one.id for one in snapshots], [one.id for one in held.connections]) == ([snapshot.id], [connection.id])


def test_a_listed_volume_shows_what_this_process_has_connected_since(library: Library, listed: Backend) -> None:
    created = listed.create_volume(1)
    (before,) = listed.volumes_filtered()
    connection = created.connect(CONNECTOR)
    (between,) = listed.volumes_filtered()
    assert (before.status, between.status) == ("in-use", "in-use")
    (again,) = listed.volumes_filtered()
    library.connection(connection.id).disconnect()
    assert again.status == "available"


def test_a_listed_volume_shows_that_a_connection_was_removed_from_the_store(library: Library, listed: Backend) -> None:
    connection = listed.create_volume(1).connect(CONNECTOR)
    (volume,) = listed.volumes_filtered()
    library.persistence.delete_connection(connection)
    assert volume.status == "available"


def test_what_another_process_has_connected_is_shown_after_refresh(listed: Backend, store: LastingStore) -> None:
    connection = listed.create_volume(1).connect(CONNECTOR)
    (volume,) = listed.volumes_filtered()
    store.remove(store.get(Attachment, connection.id))
    assert volume.status == "in-use"
    volume.refresh()
    assert volume.status == "available"


def test_a_record_that_is_read_again_comes_with_its_connections(listed: Backend, store: LastingStore) -> None:
    connection = listed.create_volume(1).connect(CONNECTOR)
    (volume,) = listed.volumes_filtered()
    assert volume.status == "in-use"
    store.remove(store.get(Attachment, connection.id))
    store.replace(replace(store.get(records.Volume, volume.id), name="changed"))
    volume.extend(2)
    assert (volume.name, volume.status) == ("changed", "available")


def test_an_unreadable_connection_is_reported_for_its_own_volume_only(listed: Backend, store: LastingStore) -> None:
    good, bad = listed.create_volume(1), listed.create_volume(1)
    store._put_raw(Attachment, "broken", "1-x", f'{{"volume_id": "{bad.id}"}}')
    volumes = {volume.id: volume for volume in listed.volumes_filtered()}
    assert volumes[good.id].status == "available"
    with pytest.raises(CorruptRecord, match="broken"):
        volumes[bad.id].status  # noqa: B018  # reads it


def test_a_listed_volume_can_be_copied(listed: Backend) -> None:
    listed.create_volume(1).connect(CONNECTOR)
    (volume,) = listed.volumes_filtered()
    assert copy.deepcopy(volume).status == copy.copy(volume).status == "in-use"
