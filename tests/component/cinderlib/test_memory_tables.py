"""The dictionaries of cinderlib's plugin in memory: `Backend.persistence.volumes` and the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import KeyValue, Library, Snapshot, Volume, exception
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING


def test_they_have_the_objects_by_id_in_memory_only(process_wide: Any, tmp_path: Path) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    kept = process_wide.Backend.persistence
    volume = backend.create_volume(1)
    snapshot, connection = volume.create_snapshot(), volume.connect(CONNECTOR)
    kept.set_key_value(KeyValue("a", 1))
    assert kept.volumes == {volume.id: volume}
    assert kept.snapshots == {snapshot.id: snapshot}
    assert kept.connections == {connection.id: connection}
    assert kept.key_values == {"a": KeyValue("a", 1)}
    library = Library(persistence_config={"storage": "sql"}, state_dir=tmp_path)
    for name in ("volumes", "fake_db"):
        with pytest.raises(AttributeError, match=name):
            getattr(library.persistence, name)
    library.close()


def test_a_removed_item_is_a_removed_record(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    kept = process_wide.Backend.persistence
    volumes = [backend.create_volume(1) for _ in range(4)]
    assert kept.volumes.pop(volumes[0].id) is volumes[0]
    assert kept.volumes.pop("absent", None) is None
    with pytest.raises(KeyError):
        kept.volumes.pop("absent")
    del kept.volumes[volumes[1].id]
    assert kept.volumes.popitem()[0] in {volumes[2].id, volumes[3].id}
    assert len(kept.get_volumes()) == 1
    assert len(backend.driver.volumes) == 4


def test_clear_removes_all_records_those_of_snapshots_before_their_volumes(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    kept = process_wide.Backend.persistence
    backend.create_volume(1).create_snapshot().volume.connect(CONNECTOR)
    kept.set_key_value(KeyValue("a", 1))
    kept.volumes.clear()
    kept.key_values.clear()
    assert (kept.get_volumes(), kept.get_snapshots(), kept.get_connections(), kept.get_key_values()) == ([], [], [], [])


def test_a_new_item_is_stored(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    kept = process_wide.Backend.persistence
    first, second, third = (Volume(backend, size=size) for size in (1, 2, 3))
    kept.volumes[first.id] = first
    kept.volumes.update({second.id: second})
    assert kept.volumes.setdefault(third.id, third) is third
    assert kept.volumes.setdefault(third.id, None) is third
    assert kept.volumes == {volume.id: volume for volume in (first, second, third)}


def test_a_saved_object_is_the_single_one_of_its_record(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = Volume(backend, size=1)
    process_wide.Backend.persistence.set_volume(volume)
    assert Volume.get_by_id(volume.id) is volume
    snapshot = Snapshot(volume, name="s")
    snapshot.save()
    assert Snapshot.get_by_id(snapshot.id) is snapshot


def test_the_new_volume_of_a_new_snapshot_is_stored_with_it(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    kept = process_wide.Backend.persistence
    volume = Volume(backend, size=1)
    snapshot = Snapshot(volume, name="s")
    kept.set_snapshot(snapshot)
    assert (kept.snapshots, kept.volumes) == ({snapshot.id: snapshot}, {volume.id: volume})
    kept.delete_snapshot(snapshot)
    kept.delete_volume(volume)
    with pytest.raises(exception.VolumeNotFound):
        kept.set_snapshot(Snapshot(volume, name="t"))
