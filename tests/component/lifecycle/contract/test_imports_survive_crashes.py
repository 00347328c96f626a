"""kill -9 at every step of an import and of its undoing, then the retry or the opposite. The file is never lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, Bed, Place, beds
from tests.support.fakes.crashing import Killed

FILES = [bed for bed in beds() if bed.durable and bed.driver.endswith("LoopFileDriver")]
IMPORT = ("import-volume.record-written", "driver.manage_existing.done", "import-volume.driver-done")
STATIC = ("import-volume.record-written", "import-volume.driver-done")
SNAPSHOT = ("import-snapshot.record-written", "driver.manage_existing_snapshot.done", "import-snapshot.driver-done")
UNDO_SNAPSHOT = (
    "unmanage-snapshot.record-written",
    "driver.manage_existing_snapshot.done",
    "unmanage-snapshot.driver-done",
)
UNDO = (
    "unmanage-volume.record-written",
    "driver.unmanage.done",
    "driver.manage_existing.done",
    "unmanage-volume.driver-done",
)


@pytest.fixture(params=FILES, ids=lambda bed: bed.name)
def bed(request: pytest.FixtureRequest) -> Bed:
    found: Bed = request.param
    return found


@pytest.fixture
def disk(place: Place) -> Path:
    path = place.directory / "volumes" / "disk.img"
    with path.open("wb") as file:
        file.write(b"content")
        file.truncate(BYTES_PER_GIB)
    return path


def content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(7)


@pytest.mark.parametrize("fault", IMPORT)
@pytest.mark.parametrize("after", ["again", "undone"])
def test_an_import_that_died_is_finished_or_undone(
    place: Place, killed: Killed, disk: Path, fault: str, after: str
) -> None:
    id = makers.new_id()
    killed.kill(place, "import volume", id, fault)
    left = place.store.get(Volume, id)
    assert left.status is Status.IMPORTING
    with place.backend.importing() as imports:
        if after == "again":
            left = imports.resume(left)
            assert left.status is Status.AVAILABLE
            assert content(disk.with_name(f"volume-{id}")) == b"content"
        assert imports.undo(left).name == "disk.img"
    assert content(disk) == b"content"
    assert place.store.page(Volume).records == ()


@pytest.mark.parametrize("fault", UNDO)
def test_an_undoing_that_died_is_finished_by_the_retry(place: Place, killed: Killed, disk: Path, fault: str) -> None:
    id = makers.new_id()
    assert killed.run(place, "import volume", id) == 0
    killed.kill(place, "undo import", id, fault)
    left = place.store.get(Volume, id)
    assert left.status is Status.UNMANAGING
    with place.backend.importing() as imports:
        assert imports.undo(left).name == "disk.img"
    assert content(disk) == b"content"
    assert place.store.page(Volume, where={"backend": BACKEND}).records == ()


@pytest.mark.parametrize("fault", STATIC)
@pytest.mark.parametrize("after", ["again", "undone"])
def test_a_static_import_that_died_is_finished_or_undone(
    place: Place, killed: Killed, disk: Path, fault: str, after: str
) -> None:
    id = makers.new_id()
    killed.kill(place, "import static volume", id, fault)
    left = place.store.get(Volume, id)
    assert left.status is Status.IMPORTING
    with place.backend.importing() as imports:
        if after == "again":
            left = imports.resume(left)
            assert left.status is Status.AVAILABLE
        assert imports.undo(left).name == "disk.img"
    assert content(disk) == b"content"
    assert place.store.page(Volume).records == ()


@pytest.mark.parametrize("fault", SNAPSHOT)
@pytest.mark.parametrize("after", ["again", "undone"])
def test_an_import_of_a_snapshot_that_died_is_finished_or_undone(
    place: Place, killed: Killed, disk: Path, fault: str, after: str
) -> None:
    volume = place.backend.create_volume(makers.volume(BACKEND))
    id = makers.new_id()
    killed.kill(place, "import snapshot", id, fault)
    left = place.store.get(Snapshot, id)
    assert left.status is Status.IMPORTING
    with place.backend.importing() as imports:
        if after == "again":
            left = imports.resume(left)
            assert left.status is Status.AVAILABLE
            assert content(disk.with_name(f"snapshot-{id}")) == b"content"
        assert imports.undo(left).name == "disk.img"
    assert content(disk) == b"content"
    assert place.store.page(Snapshot).records == ()
    place.backend.delete_volume(place.store.get(Volume, volume.id))


@pytest.mark.parametrize("fault", UNDO_SNAPSHOT)
def test_an_undoing_of_a_snapshot_that_died_is_finished_by_the_retry(
    place: Place, killed: Killed, disk: Path, fault: str
) -> None:
    volume = place.backend.create_volume(makers.volume(BACKEND))
    id = makers.new_id()
    assert killed.run(place, "import snapshot", id) == 0
    killed.kill(place, "undo snapshot import", id, fault)
    left = place.store.get(Snapshot, id)
    assert left.status is Status.UNMANAGING
    with place.backend.importing() as imports:
        assert imports.undo(left).name == "disk.img"
    assert content(disk) == b"content"
    assert place.store.page(Snapshot).records == ()
    place.backend.delete_volume(place.store.get(Volume, volume.id))
