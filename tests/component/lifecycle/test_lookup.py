"""Whether a volume or snapshot can be copied, by its record and that of its group snapshot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csi_cinderlib.errors import DriverError, NotFound, PreconditionFailed
from csi_cinderlib.lifecycle import lookup
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Source, SourceKind, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes.makers import NOT_COPYABLE

VOLUME = Volume(id="v", backend="array", size=GiB(1), status=Status.AVAILABLE)
GROUP = GroupSnapshot(id="g", backend="array", status=Status.AVAILABLE)
SNAPSHOT = Snapshot(id="s", backend="array", volume_id="v", size=GiB(1), status=Status.AVAILABLE)
MEMBER = replace(SNAPSHOT, group_snapshot_id="g")
OF_VOLUME, OF_SNAPSHOT = Source(SourceKind.VOLUME, "v"), Source(SourceKind.SNAPSHOT, "s")

refused = pytest.mark.parametrize(("status", "error"), NOT_COPYABLE.items())


def store_with(
    volume: Volume = VOLUME, snapshot: Snapshot = SNAPSHOT, group: GroupSnapshot | None = None
) -> MemoryStore:
    store = MemoryStore()
    store.add(volume)
    store.add(snapshot)
    if group is not None:
        store.add(group)
    return store


def test_what_is_available_can_be_copied() -> None:
    store = store_with(snapshot=MEMBER, group=GROUP)
    assert lookup.get_source(store, OF_VOLUME) == store.get(Volume, "v")
    assert lookup.get_source(store, OF_SNAPSHOT) == store.get(Snapshot, "s")


@pytest.mark.parametrize("source", [OF_VOLUME, OF_SNAPSHOT])
def test_what_does_not_exist_is_not_found(source: Source) -> None:
    with pytest.raises(NotFound, match=f"{source.kind} '{source.id}' does not exist"):
        lookup.get_source(MemoryStore(), source)


@refused
def test_a_volume_that_is_not_available_is_refused(status: Status, error: type[DriverError]) -> None:
    with pytest.raises(error, match="volume 'v'"):
        lookup.get_source(store_with(replace(VOLUME, status=status)), OF_VOLUME)


@refused
def test_a_snapshot_that_is_not_available_is_refused(status: Status, error: type[DriverError]) -> None:
    with pytest.raises(error, match="snapshot 's'"):
        lookup.get_source(store_with(snapshot=replace(SNAPSHOT, status=status)), OF_SNAPSHOT)


@refused
def test_a_member_of_a_group_snapshot_that_is_not_available_is_refused(
    status: Status, error: type[DriverError]
) -> None:
    store = store_with(snapshot=MEMBER, group=replace(GROUP, status=status))
    with pytest.raises(error, match="snapshot 's'"):
        lookup.get_source(store, OF_SNAPSHOT)


def test_a_member_without_its_group_snapshot_is_not_found() -> None:
    with pytest.raises(NotFound, match="snapshot 's'"):
        lookup.get_source(store_with(snapshot=MEMBER), OF_SNAPSHOT)


def test_a_source_that_is_being_deleted_is_said_to_be() -> None:
    with pytest.raises(NotFound, match="volume 'v' is being deleted"):
        lookup.get_source(store_with(replace(VOLUME, status=Status.DELETING)), OF_VOLUME)


def test_a_failed_source_tells_why() -> None:
    with pytest.raises(PreconditionFailed, match="volume 'v' is error: it broke"):
        lookup.get_source(store_with(replace(VOLUME, status=Status.ERROR, message="it broke")), OF_VOLUME)


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.DELETED, Status.ERROR])
def test_a_volume_that_is_not_whole_cannot_be_used(status: Status) -> None:
    with pytest.raises(PreconditionFailed, match=f"volume 'v' is {status}: why"):
        lookup.check_whole(replace(VOLUME, status=status, message="why"))


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.EXTENDING])
def test_a_volume_can_be_used_while_it_grows(status: Status) -> None:
    lookup.check_whole(replace(VOLUME, status=status))


def test_a_snapshot_outlives_its_volume() -> None:
    store = store_with(replace(VOLUME, status=Status.DELETED))
    assert lookup.get_source(store, OF_SNAPSHOT).id == "s"
    with pytest.raises(NotFound):
        lookup.get_volume(store, "v")


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.DELETED])
def test_the_record_of_a_volume_that_exists_is_found_in_any_status(status: Status) -> None:
    store = store_with(replace(VOLUME, status=status))
    assert lookup.get_volume(store, "v").status is status


def test_a_record_that_is_not_there_is_none() -> None:
    store = store_with()
    assert lookup.find(store, Volume, "v") == store.get(Volume, "v")
    assert lookup.find(store, Volume, "s") is None
