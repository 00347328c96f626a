"""Volumes that nodes encrypt, in the library, which does not decrypt them."""

from __future__ import annotations

import pytest

from csi_cinderlib.cinderlib import Backend, Library, Volume, exception
from csi_cinderlib.errors import InvalidRequest
from csi_cinderlib.model import records
from csi_cinderlib.model.encryption import header_of
from csi_cinderlib.model.making import replace
from tests.component.cinderlib.conftest import CONNECTOR


@pytest.fixture
def volume(fake: Backend, library: Library) -> Volume:
    made = fake.create_volume(1)
    stored = library.store.get(records.Volume, made.id)
    library.store.replace(replace(stored, encryption="luks2", header=header_of(made.id)))
    return library.volume(made.id)


def test_its_device_is_given_out_only_when_ciphertext_is_asked_for(volume: Volume, library: Library) -> None:
    with pytest.raises(exception.InvalidVolume, match=r"is encrypted by its nodes .*with ciphertext=True"):
        volume.connect(CONNECTOR)
    with pytest.raises(exception.InvalidVolume, match="with ciphertext=True"):
        volume.connect(CONNECTOR, ciphertext=False)
    assert not library.store.get(records.Volume, volume.id).raw
    assert volume.connections == []
    connection = volume.connect(CONNECTOR, ciphertext=True)
    assert library.store.get(records.Volume, volume.id).raw
    connection.disconnect()


def test_attach_refuses_it_as_well(volume: Volume) -> None:
    with pytest.raises(exception.InvalidVolume, match="ciphertext=True"):
        volume.attach()


def test_a_connection_that_a_node_uses_is_not_attached_in_plain(volume: Volume, library: Library) -> None:
    connection = volume.connect(CONNECTOR, ciphertext=True)
    stored = library.store.get(records.Attachment, connection.id)
    library.store.replace(replace(stored, ciphertext=False))
    with pytest.raises(exception.InvalidVolume, match="ciphertext=True"):
        library.connection(connection.id).attach()


def test_a_connection_from_json_may_give_out_the_ciphertext_as_before(volume: Volume, library: Library) -> None:
    """One process connects the volume, another one attaches it."""
    connection = volume.connect(CONNECTOR, ciphertext=True)
    for text in (connection.jsons, volume.dumps):
        assert '"ciphertext":true' in text
    library.store.remove(library.store.get(records.Attachment, connection.id))
    loaded = library.load(connection.json, save=True)
    assert library.store.get(records.Attachment, loaded.id).ciphertext
    library.store.replace(replace(library.store.get(records.Attachment, loaded.id), ciphertext=False))
    library.load(connection.json, save=True)
    assert not library.store.get(records.Attachment, loaded.id).ciphertext, "JSON does not grant it"


def test_the_request_for_ciphertext_must_be_true_or_false(volume: Volume) -> None:
    with pytest.raises(InvalidRequest, match="ciphertext: must be True or False"):
        volume.connect(CONNECTOR, ciphertext="yes")  # type: ignore[arg-type]  # on purpose


def test_a_volume_in_plain_can_be_connected_either_way(fake: Backend) -> None:
    plain = fake.create_volume(1)
    plain.connect(CONNECTOR, ciphertext=True).disconnect()
    plain.connect(CONNECTOR).disconnect()


def test_copies_have_the_header_of_their_source_also_from_json(volume: Volume, library: Library) -> None:
    copy = volume.clone()
    assert library.store.get(records.Volume, copy.id).header == header_of(volume.id)
    restored = volume.create_snapshot().create_volume()
    assert library.store.get(records.Volume, restored.id).header == header_of(volume.id)
    assert volume.dump["ovo"]["versioned_object.data"]["header"] == header_of(volume.id)
