"""kill -9 at every named step, then the retry: the same result as without, and nothing left over."""

from __future__ import annotations

import pytest

from csi_cinderlib.errors import NotFound
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, Bed, Place, beds
from tests.support.fakes.crashing import Killed

BEDS = [bed for bed in beds() if bed.durable]


def killed_at(*faults: str) -> pytest.MarkDecorator:
    """Every bed with every fault point, except where the id of a new object is lost with the process.

    What is promised then is tested in tests/program/crash/test_array_that_assigns_ids.py.
    """
    cases = [
        pytest.param(bed, fault, id=f"{bed.name}-{fault}")
        for bed in BEDS
        for fault in faults
        if not ("assigned-ids" in bed.options.get("nothing_traits", ()) and fault.endswith("driver-done"))
    ]
    return pytest.mark.parametrize(("bed", "fault"), cases, indirect=["bed"])


@pytest.fixture(params=BEDS, ids=lambda bed: bed.name)
def bed(request: pytest.FixtureRequest) -> Bed:
    """Only beds on which anything outlives the process."""
    found: Bed = request.param
    return found


def create(place: Place) -> Volume:
    return place.backend.create_volume(makers.volume(BACKEND))


def left_over(place: Place) -> list[str]:
    """What is on the back end and in no record."""
    if place.bed.data == "none":
        return place.unrecorded()
    files = (file for file in (place.directory / "volumes").iterdir() if file.is_file() and file.name[0] != ".")
    recorded = {f"volume-{volume.id}" for volume in place.store.page(Volume).records}
    return sorted({file.name for file in files} - recorded)


@killed_at("create-volume.record-written", "create-volume.driver-done")
def test_a_creation_that_died_is_finished_by_the_retry(place: Place, killed: Killed, fault: str) -> None:
    id = makers.new_id()
    killed.kill(place, "create volume", id, fault)
    left = place.store.get(Volume, id)
    assert left.status is Status.CREATING
    assert place.backend.resume_create_volume(left).status is Status.AVAILABLE
    place.backend.delete_volume(place.store.get(Volume, id))
    assert place.store.page(Volume).records == ()
    assert left_over(place) == []


@killed_at("create-volume.record-written", "create-volume.driver-done")
def test_a_creation_that_died_can_be_deleted_instead(place: Place, killed: Killed, fault: str) -> None:
    id = makers.new_id()
    killed.kill(place, "create volume", id, fault)
    place.backend.delete_volume(place.store.get(Volume, id))
    assert left_over(place) == []


@pytest.mark.parametrize("fault", ["delete-volume.record-written", "delete-volume.driver-done"])
def test_a_deletion_that_died_is_finished_by_the_retry(place: Place, killed: Killed, fault: str) -> None:
    volume = create(place)
    killed.kill(place, "delete volume", volume.id, fault)
    left = place.store.get(Volume, volume.id)
    assert left.status is Status.DELETING
    place.backend.delete_volume(left)
    with pytest.raises(NotFound):
        place.store.get(Volume, volume.id)
    assert left_over(place) == []


def test_a_growth_that_died_is_finished_by_the_retry(place: Place, killed: Killed) -> None:
    volume = create(place)
    killed.kill(place, "extend", volume.id, "expand.driver-done")
    left = place.store.get(Volume, volume.id)
    assert (left.status, left.target_size) == (Status.EXTENDING, 2)
    assert place.backend.extend_volume(left, GiB(2)).size == 2
    assert [lun.size for lun in place.array.luns()] in ([], [2])


@killed_at("create-snapshot.record-written", "create-snapshot.driver-done")
def test_a_snapshot_that_died_is_finished_by_the_retry(place: Place, killed: Killed, fault: str) -> None:
    create(place)
    id = makers.new_id()
    killed.kill(place, "create snapshot", id, fault)
    taken = place.backend.resume_create_snapshot(place.store.get(Snapshot, id))
    assert taken.status is Status.AVAILABLE
    place.backend.delete_snapshot(taken)
    assert left_over(place) == []


@pytest.mark.parametrize("fault", ["delete-snapshot.record-written", "delete-snapshot.driver-done"])
def test_a_snapshots_deletion_that_died_is_finished_by_the_retry(place: Place, killed: Killed, fault: str) -> None:
    taken = place.backend.create_snapshot(makers.snapshot(create(place)))
    killed.kill(place, "delete snapshot", taken.id, fault)
    place.backend.delete_snapshot(place.store.get(Snapshot, taken.id))
    assert place.store.page(Snapshot).records == ()
    assert left_over(place) == []


@pytest.mark.parametrize("fault", ["publish.record-written", "publish.exported", "publish.connected"])
@pytest.mark.parametrize("after", ["again", "away"])
def test_a_connection_that_died_is_made_or_taken_back_by_the_retry(
    place: Place, killed: Killed, fault: str, after: str
) -> None:
    volume = create(place)
    killed.kill(place, "connect", volume.id, fault)
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
def test_a_disconnection_that_died_is_finished_by_the_retry(place: Place, killed: Killed, fault: str) -> None:
    volume = create(place)
    place.backend.connect(volume, makers.attachment(volume, connector=place.connector()))
    killed.kill(place, "disconnect", volume.id, fault)
    left = place.backend.attachments(volume.id)[0]
    assert left.status is Status.DELETING
    place.backend.disconnect(left)
    assert place.store.page(Attachment).records == ()
