"""Persistence plugins written for cinderlib, as the metadata store of the process-wide set-up."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.cinderlib import objects
from csi_cinderlib.cinderlib.persistence import base
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING
from tests.support.fakes.cinderlib_plugins import Remembering


def test_attributes_of_the_plugin_are_those_of_the_persistence(process_wide: Any) -> None:
    process_wide.setup(persistence_config={"storage": Remembering})
    volume = process_wide.Backend("fake", volume_driver=NOTHING).create_volume(1)
    kept: Any = process_wide.Backend.persistence
    assert kept.calls[0] == "creating"
    assert kept.fake_db is not None
    assert issubclass(type(kept), base.PersistenceDriverBase)
    assert kept.volumes == {volume.id: volume}
    assert kept.volumes[volume.id] is volume
    with pytest.raises(AttributeError, match="colour"):
        kept.colour  # noqa: B018  # raises


def test_changed_fields_and_fields_are_those_of_cinders_object(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, name="data", extra_specs={"tier": "1"}, qos_specs={"q": "9"})
    kept = process_wide.Backend.persistence
    assert kept.get_changed_fields(volume) == {}
    fields = kept.get_fields(volume)
    assert (fields["id"], fields["display_name"], fields["size"]) == (volume.id, "data", 1)
    assert (fields["extra_specs"], fields["qos_specs"]) == ({"tier": "1"}, {"q": "9"})
    assert "volume_type" not in fields
    volume._ovo.display_name, volume._ovo.size = "other", 2
    assert kept.get_changed_fields(volume) == {"display_name": "other", "size": 2}
    kept.reset_change_tracker(volume, "size")
    assert kept.get_changed_fields(volume) == {"display_name": "other"}
    kept.reset_change_tracker(volume, ["display_name"])
    assert kept.get_changed_fields(volume) == {}
    assert kept.get_fields(volume.create_snapshot("s"))["volume_id"] == volume.id


def test_the_replacement_of_cinders_database_finds_what_the_plugin_has(process_wide: Any) -> None:
    plugin = Remembering()
    process_wide.setup(persistence_config={"storage": plugin})
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, qos_specs={"q": "9"}, extra_specs={"tier": "1"})
    snapshot = volume.create_snapshot()
    plain = backend.create_volume(1)
    db, context = plugin.db, objects.CONTEXT
    assert db.volume_get(context, volume.id).id == volume.id
    assert db.snapshot_get(context, snapshot.id).id == snapshot.id
    assert db.volume_type_get(context, volume.id)["extra_specs"] == {"tier": "1"}
    assert db.volume_type_get(context, plain.id) is None
    assert db.qos_specs_get(context, volume.id)["specs"] == {"q": "9"}
    assert db.qos_specs_get(context, plain.id) is None
    assert {found.id for found in db.volume_get_all_by_host(context, volume.host)} == {volume.id, plain.id}
    assert db.image_volume_cache_get_by_volume_id(context, volume.id) is None
    assert db.get_by_id(context, objects.Snapshot.OVO_CLASS.model, snapshot.id).id == snapshot.id


# --- objects for what is stored


def test_an_object_is_created_of_cinders_object(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, name="data")
    snapshot, connection = volume.create_snapshot("s"), volume.connect(CONNECTOR)
    same = objects.Volume(backend, **{"__ovo": volume._ovo})
    assert (same.id, same.name, same.status, same.backend) == (volume.id, "data", "in-use", backend)
    assert objects.Volume._load("fake", volume._ovo).backend is backend
    assert objects.Snapshot(volume, **{"__ovo": snapshot._ovo}).volume is volume
    assert objects.Snapshot._load(backend, snapshot._ovo).volume.id == volume.id
    assert objects.Connection(backend, volume=volume, **{"__ovo": connection._ovo}).connector_info == CONNECTOR
    assert objects.Connection._load(backend, connection._ovo, volume).volume is volume


def test_a_loaded_object_is_saved_if_wanted(process_wide: Any) -> None:
    backend = process_wide.Backend("fake", volume_driver=NOTHING)
    volume = backend.create_volume(1, name="data")
    ovo = volume._ovo
    process_wide.Backend.persistence.delete_volume(volume)
    objects.Volume._load(backend, ovo)
    assert process_wide.Backend.persistence.get_volumes() == []
    objects.Volume._load(backend, ovo, save=True)
    assert process_wide.Volume.get_by_id(volume.id).name == "data"
