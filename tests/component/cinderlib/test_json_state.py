"""The state of a stored record and JSON: older JSON does not undo what the store knows of the storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinderlib import Backend, Library
from csi_cinderlib.errors import InvalidRequest, NameTaken
from csi_cinderlib.model import records
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Status
from csi_cinderlib.model.size import GiB
from tests.component.cinderlib.conftest import LOOPFILE


@pytest.fixture
def refused(library: Library, tmp_path: Path) -> Any:
    """A volume that was not created, because a file of another program has its name."""
    backend = _on(library, tmp_path)
    _file(tmp_path).write_text("precious")
    with pytest.raises(NameTaken) as taken:
        backend.create_volume(1, id="taken")
    return taken.value.resource  # type: ignore[attr-defined]  # what the library puts there


def _on(library: Library, directory: Path) -> Backend:
    return library.backend("files", volume_driver=LOOPFILE, loopfile_directories=[str(directory / "volumes")])


def _file(directory: Path) -> Path:
    return directory / "volumes" / "volume-taken"


def test_the_file_of_another_program_survives_the_deletion_of_loaded_json(refused: Any, tmp_path: Path) -> None:
    library = Library()
    try:
        _on(library, tmp_path)
        loaded = library.load(refused.dumps)
        assert loaded.status == "error"
        loaded.delete()
    finally:
        library.close()
    assert _file(tmp_path).read_text() == "precious"


def test_the_file_of_another_program_survives_when_json_is_stored_again(
    refused: Any, library: Library, tmp_path: Path
) -> None:
    text = json.loads(refused.dumps)
    del text["ovo"]["versioned_object.data"]["name_taken"]  # as JSON of before the creation
    library.load(text, save=True)
    library.volume("taken").delete()
    assert _file(tmp_path).read_text() == "precious"


def test_a_refused_snapshot_stays_refused_in_json(fake: Backend, library: Library) -> None:
    snapshot = fake.create_volume(1).create_snapshot()
    record = library.store.get(records.Snapshot, snapshot.id)
    library.store.replace(replace(record, status=Status.ERROR, name_taken="it exists"))
    snapshot.refresh()
    for text in (snapshot.dump, snapshot.volume.dump):
        other = Library()
        try:
            other.backend("fake", volume_driver=fake._settings.driver)
            other.load(json.dumps(text), save=True)
            assert other.store.get(records.Snapshot, snapshot.id).name_taken == "it exists"
        finally:
            other.close()


def test_an_encrypted_volume_stays_encrypted_in_json_and_in_copies(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    assert "encryption" not in volume.dump["ovo"]["versioned_object.data"]
    library.store.replace(replace(library.store.get(records.Volume, volume.id), encryption="luks2"))
    volume.refresh()
    snapshot = volume.create_snapshot()
    for copy in (volume.clone(), snapshot.create_volume()):
        assert library.store.get(records.Volume, copy.id).encryption == "luks2"
    other = Library()
    try:
        other.backend("fake", volume_driver=fake._settings.driver)
        other.load(json.dumps(volume.dump), save=True)
        assert other.store.get(records.Volume, volume.id).encryption == "luks2"
        wrong = json.loads(json.dumps(volume.dump).replace('"encryption": "luks2"', '"encryption": "rot13"'))
        with pytest.raises(InvalidRequest, match="unsupported encryption 'rot13'"):
            other.load(wrong)
    finally:
        other.close()


def test_older_json_does_not_reduce_the_size_of_a_volume(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1, metadata={"a": "1"})
    text = volume.dumps
    volume.extend(5)
    volume.metadata["a"] = "2"
    volume.save()
    library.load(text, save=True)
    again = library.volume(volume.id)
    assert (again.size, again.metadata) == (5, {"a": "1"})
    with pytest.raises(ValueError, match="at least the present size of 5 GiB"):
        again.extend(3)


def test_older_json_does_not_end_an_interrupted_operation(fake: Backend, library: Library) -> None:
    volume = fake.create_volume(1)
    text = volume.dumps
    record = library.store.get(records.Volume, volume.id)
    library.store.replace(replace(record, status=Status.EXTENDING, target_size=GiB(3), labels={"claim": "x"}))
    library.load(text, save=True)
    stored = library.store.get(records.Volume, volume.id)
    assert (stored.status, stored.target_size, stored.labels) == (Status.EXTENDING, 3, {"claim": "x"})
