"""JSON out and in: ours and cinderlib's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library, exception
from tests.component.cinderlib.conftest import CONNECTOR, NOTHING

FROM_CINDERLIB = json.loads((Path(__file__).parent / "volume-from-cinderlib.json").read_text())


def full(backend: Backend) -> Any:
    volume = backend.create_volume(2, name="v", extra_specs={"a": "b"}, qos_specs={"q": "1"}, metadata={"m": "n"})
    volume.create_snapshot("s")
    volume.connect(CONNECTOR).device_attached({"path": "/dev/sdx", "type": "block"})
    return volume


def test_json_holds_everything_once(backend: Backend) -> None:
    volume = full(backend)
    described = json.loads(volume.dumps)
    data = described["ovo"]["versioned_object.data"]
    assert (described["class"], described["backend"]) == ("Volume", {"volume_backend_name": backend.id})
    (snapshot,) = data["snapshots"]["versioned_object.data"]["objects"]
    assert "volume" not in snapshot["versioned_object.data"]
    (attached,) = data["volume_attachment"]["versioned_object.data"]["objects"]
    assert attached["versioned_object.data"]["connection_info"] == volume.connections[0].connection_info
    assert "snapshots" not in volume.to_json()["ovo"]["versioned_object.data"]
    assert volume.to_dict()["volume"]["snapshots"][0]["snapshot"]["display_name"] == "s"
    assert json.loads(volume.snapshots[0].jsons)["ovo"]["versioned_object.data"]["volume"]


def test_what_was_dumped_can_be_loaded_elsewhere_and_worked_with(backend: Backend) -> None:
    """The records travel with the caller: the new set-up has an empty store."""
    text = full(backend).dumps
    driver, cfg = backend.driver, dict(backend._cfg)
    elsewhere = Library()
    try:
        there = elsewhere.backend(backend.id, **cfg)
        there.core.verbs._engine.driver = driver  # the same storage: the fake keeps its world in the driver
        volume = elsewhere.load(text)
        assert elsewhere.persistence.get_volumes() == []
        assert (volume.size, volume.metadata["m"], volume.volume_type.extra_specs) == (2, "n", {"a": "b"})
        assert volume.volume_type.qos_specs.specs == {"q": "1"}
        (connection,), (snapshot,) = volume.connections, volume.snapshots
        assert (connection.path, connection.connector_info) == ("/dev/sdx", CONNECTOR)
        with pytest.raises(exception.InvalidVolume):
            volume.delete()
        connection.disconnect()
        snapshot.delete()
        volume.delete()
        assert elsewhere.persistence.get_volumes() == []
    finally:
        elsewhere.close()


def test_loading_is_exact(backend: Backend, library: Library) -> None:
    volume = full(backend)
    again = library.load(volume.dumps)
    assert again.dump == volume.dump
    assert again.snapshots[0].volume is again


def test_save_stores_what_was_loaded(library: Library) -> None:
    backend = library.backend("lvm", volume_driver=NOTHING)
    loaded = library.load(FROM_CINDERLIB, save=True)
    stored = library.volume(loaded.id)
    assert [one.id for one in backend.volumes] == [stored.id]
    assert (stored.size, stored.name, stored.status, stored.host) == (3, "old", "in-use", "box@lvm#lvm")
    assert (stored.provider_auth, stored.provider_location) == ("CHAP user secret", "10.0.0.1:3260,1 iqn.2010-10:x 0")
    assert stored.volume_type.extra_specs == {"key": "value"}
    assert stored.volume_type.qos_specs.specs == {"maxIOPS": "10"}
    (snapshot,), (connection,) = stored.snapshots, stored.connections
    assert (snapshot.name, snapshot.volume_size) == ("old snapshot", 3)
    assert (connection.connector_info["host"], connection.path) == ("box", "/dev/sda")
    assert connection.conn_info["data"]["target_lun"] == 0
    assert stored.created_at.year == 2023


def test_the_whole_set_up_is_described_and_loaded(process_wide: Any) -> None:
    process_wide.setup(output_all_backend_info=True)
    backend = process_wide.Backend("fake", volume_driver=NOTHING, nothing_pools=["p"])
    full(backend)
    text = process_wide.dumps()
    assert json.loads(text) == process_wide.dump()
    assert json.loads(process_wide.jsons()) == process_wide.json()
    process_wide.close()
    process_wide.setup()
    (loaded,) = process_wide.load(text, save=True)
    assert (loaded.id, loaded.pool_names) == ("fake", ("p",))
    assert [one.name for one in loaded.volumes] == ["v"]
    assert loaded.config == {"volume_backend_name": "fake"}


def test_a_back_end_that_is_not_loaded_is_an_error_or_its_name(tmp_path: Path) -> None:
    strict, lax = Library(), Library(fail_on_missing_backend=False)
    try:
        with pytest.raises(KeyError, match="lvm"):
            strict.load(FROM_CINDERLIB)
        volume = lax.load(FROM_CINDERLIB)
        assert (volume.backend, volume.size) == ("lvm", 3)
        with pytest.raises(Exception, match="back end 'lvm' does not exist"):
            volume.extend(4)
    finally:
        strict.close()
        lax.close()


@pytest.mark.parametrize("kind", ["snapshots", "connections"])
def test_a_part_is_loaded_with_its_volume(backend: Backend, library: Library, kind: str) -> None:
    part = getattr(full(backend), kind)[0]
    again = library.load(part.dumps)
    assert again.to_json() == part.to_json()
    assert (again.id, again.volume.id) == (part.id, part.volume.id)
