"""kill -9 at every named step, then the retry: the same result as without, and nothing left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csi_cinderlib.errors import NotFound
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, Bed, Place, beds

ROOT = Path(__file__).parents[4]


@pytest.fixture(params=[bed for bed in beds() if bed.durable], ids=lambda bed: bed.name)
def bed(request: pytest.FixtureRequest) -> Bed:
    """Only beds on which anything outlives the process."""
    found: Bed = request.param
    return found


def crash(place: Place, fault: str, step: str, id: str) -> None:
    """Let another process do the step, and die at the fault point."""
    with place.away():
        command = [
            sys.executable,
            "-m",
            "tests.support.fakes.crashing",
            place.bed.to_json(),
            str(place.directory),
            step,
            id,
        ]
        environment = {**os.environ, "CINDERLIB_FAULT_POINT": fault}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == -signal.SIGKILL, done.stderr


def create(place: Place) -> Volume:
    return place.backend.create_volume(makers.volume(BACKEND))


def volumes_on_disk(place: Place) -> list[str]:
    return sorted(
        file.name for file in (place.directory / "volumes").iterdir() if file.is_file() and file.name[0] != "."
    )


@pytest.mark.parametrize("fault", ["create-volume.record-written", "create-volume.driver-done"])
def test_a_creation_that_died_is_finished_by_the_retry(place: Place, fault: str) -> None:
    id = makers.new_id()
    crash(place, fault, "create volume", id)
    left = place.store.get(Volume, id)
    assert left.status is Status.CREATING
    assert place.backend.resume_create_volume(left).status is Status.AVAILABLE
    place.backend.delete_volume(place.store.get(Volume, id))
    assert place.store.page(Volume).records == ()
    if place.bed.data == "file":
        assert volumes_on_disk(place) == []


@pytest.mark.parametrize("fault", ["create-volume.record-written", "create-volume.driver-done"])
def test_a_creation_that_died_can_be_deleted_instead(place: Place, fault: str) -> None:
    id = makers.new_id()
    crash(place, fault, "create volume", id)
    place.backend.delete_volume(place.store.get(Volume, id))
    if place.bed.data == "file":
        assert volumes_on_disk(place) == []


@pytest.mark.parametrize("fault", ["delete-volume.record-written", "delete-volume.driver-done"])
def test_a_deletion_that_died_is_finished_by_the_retry(place: Place, fault: str) -> None:
    volume = create(place)
    crash(place, fault, "delete volume", volume.id)
    left = place.store.get(Volume, volume.id)
    assert left.status is Status.DELETING
    place.backend.delete_volume(left)
    with pytest.raises(NotFound):
        place.store.get(Volume, volume.id)
    if place.bed.data == "file":
        assert volumes_on_disk(place) == []


def test_a_growth_that_died_is_finished_by_the_retry(place: Place) -> None:
    volume = create(place)
    crash(place, "expand.driver-done", "extend", volume.id)
    left = place.store.get(Volume, volume.id)
    assert (left.status, left.target_size) == (Status.EXTENDING, 2)
    assert place.backend.extend_volume(left, GiB(2)).size == 2


@pytest.mark.parametrize("fault", ["create-snapshot.record-written", "create-snapshot.driver-done"])
def test_a_snapshot_that_died_is_finished_by_the_retry(place: Place, fault: str) -> None:
    create(place)
    id = makers.new_id()
    crash(place, fault, "create snapshot", id)
    taken = place.backend.resume_create_snapshot(place.store.get(Snapshot, id))
    assert taken.status is Status.AVAILABLE
    place.backend.delete_snapshot(taken)


@pytest.mark.parametrize("fault", ["delete-snapshot.record-written", "delete-snapshot.driver-done"])
def test_a_snapshots_deletion_that_died_is_finished_by_the_retry(place: Place, fault: str) -> None:
    taken = place.backend.create_snapshot(makers.snapshot(create(place)))
    crash(place, fault, "delete snapshot", taken.id)
    place.backend.delete_snapshot(place.store.get(Snapshot, taken.id))
    assert place.store.page(Snapshot).records == ()


@pytest.mark.parametrize("fault", ["publish.record-written", "publish.exported", "publish.connected"])
@pytest.mark.parametrize("after", ["again", "away"])
def test_a_connection_that_died_is_made_or_taken_back_by_the_retry(place: Place, fault: str, after: str) -> None:
    volume = create(place)
    crash(place, fault, "connect", volume.id)
    left = place.backend.attachments(volume.id)[0]
    assert (left.status, left.blank) == (Status.CREATING, True)
    if after == "again":
        made = place.backend.connect(place.store.get(Volume, volume.id), left)
        assert (made.status, made.blank) == (Status.AVAILABLE, True)
        left = made
    place.backend.disconnect(left)
    assert place.store.page(Attachment).records == ()
    place.backend.delete_volume(place.store.get(Volume, volume.id))


@pytest.mark.parametrize("fault", ["unpublish.record-written", "unpublish.terminated"])
def test_a_disconnection_that_died_is_finished_by_the_retry(place: Place, fault: str) -> None:
    volume = create(place)
    place.backend.connect(volume, makers.attachment(volume, connector=place.connector()))
    crash(place, fault, "disconnect", volume.id)
    left = place.backend.attachments(volume.id)[0]
    assert left.status is Status.DELETING
    place.backend.disconnect(left)
    assert place.store.page(Attachment).records == ()
