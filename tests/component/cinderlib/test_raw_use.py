"""Whatever makes a connection writable: no node takes its volume for unused afterwards, and formats it."""

from __future__ import annotations

import pytest

from csi_cinderlib.cinderlib import Backend, Connection, Library, Volume
from csi_cinderlib.model import records
from tests.component.cinderlib.conftest import CONNECTOR

INFO = {"conn": {"driver_volume_type": "fake", "data": {}}, "connector": dict(CONNECTOR)}


@pytest.fixture
def volume(fake: Backend) -> Volume:
    return fake.create_volume(1)


def is_new(library: Library, volume: Volume) -> bool:
    stored = library.store.get(records.Volume, volume.id)
    assert stored.began_empty
    assert stored.blank is not stored.raw
    return stored.blank


def test_a_reader_that_becomes_a_writer(volume: Volume, library: Library) -> None:
    connection = volume.connect(CONNECTOR, attach_mode="ro")
    assert is_new(library, volume)
    connection.attach_mode = "rw"
    assert is_new(library, volume), "it is not saved"
    connection.save()
    assert not is_new(library, volume)


@pytest.mark.parametrize("mode", ["ro", "rw"])
def test_a_connection_that_exists_on_the_storage_already(
    fake: Backend, volume: Volume, library: Library, mode: str
) -> None:
    connection = Connection(fake, volume=volume, connection_info=INFO, attach_mode=mode)
    assert is_new(library, volume)
    connection.save()
    assert is_new(library, volume) is (mode == "ro")


def test_a_connection_from_json(volume: Volume, library: Library) -> None:
    connection = volume.connect(CONNECTOR, attach_mode="ro")
    text = connection.json
    library.store.remove(library.store.get(records.Attachment, connection.id))
    text["ovo"]["versioned_object.data"].update(attach_mode="rw")
    text["ovo"]["versioned_object.data"].pop("volume", None)
    library.load(text, save=True)
    assert not is_new(library, volume)
