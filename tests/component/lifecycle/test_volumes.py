"""What becomes of volumes when something goes wrong."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    InUse,
    InvalidRequest,
    NotFound,
    OperationPending,
    OutOfRange,
    PreconditionFailed,
    ResourceExhausted,
    StaleRecord,
    Unsupported,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Snapshot, Status, Volume, VolumeType
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore, touch
from tests.support.local_backends import MakeBackend


def driver(backend: LocalBackend) -> Any:
    return backend.driver


def test_the_record_is_written_before_the_driver_is_called(backend: LocalBackend, store: ObservedStore) -> None:
    seen = []
    original = driver(backend).create_volume

    def watch(volume: Any) -> Any:
        seen.append(store.get(Volume, volume.id).status)
        return original(volume)

    driver(backend).create_volume = watch
    assert backend.create_volume(makers.volume()).status is Status.AVAILABLE
    assert seen == [Status.CREATING]


def test_creating_costs_two_writes_and_no_read(backend: LocalBackend, store: ObservedStore) -> None:
    store.calls.clear()
    backend.create_volume(makers.volume())
    assert store.calls == ["add", "replace"]


def test_what_the_driver_says_is_kept(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())
    assert created.provider.location == f"nowhere/volume-{created.id}"
    assert created.host == "csi-cinderlib@fake#one"
    assert (created.pool, created.owner, created.blank) == ("one", "", True)
    assert store.get(Volume, created.id) == created


def test_a_volume_whose_creation_failed_leaves_nothing(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["create_volume"])
    record = makers.volume()
    with pytest.raises(BackendError, match="the array says no"):
        backend.create_volume(record)
    with pytest.raises(NotFound):
        store.get(Volume, record.id)
    assert driver(backend).calls["delete_volume"] == 1


def test_what_cannot_be_cleaned_up_stays_as_an_error_that_says_so(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["create_volume", "delete_volume"])
    record = makers.volume()
    with pytest.raises(BackendError):
        backend.create_volume(record)
    left = store.get(Volume, record.id)
    assert left.status is Status.ERROR
    assert "clean-up failed as well" in left.message


def test_a_creation_that_failed_and_could_not_be_undone_succeeds_later(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["create_volume:1", "delete_volume:1"])
    record = makers.volume()
    with pytest.raises(BackendError):
        backend.create_volume(record)
    assert backend.resume_create_volume(store.get(Volume, record.id)).status is Status.AVAILABLE


def test_an_interrupted_creation_is_undone_and_begun_again(backend: LocalBackend, store: ObservedStore) -> None:
    left = store.add(replace(makers.volume(), host="csi-cinderlib@fake#one", pool="one", owner="a process that died"))
    created = backend.resume_create_volume(left)
    assert (created.status, created.owner) == (Status.AVAILABLE, "")
    assert driver(backend).calls["delete_volume"] == 1


def test_resuming_what_is_finished_touches_nothing(backend: LocalBackend) -> None:
    created = backend.create_volume(makers.volume())
    assert backend.resume_create_volume(created) is created
    assert driver(backend).calls["create_volume"] == 1


def test_a_creation_that_another_living_process_works_on_is_left_to_it(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(is_alive=lambda owner: owner == "alive")
    record = replace(makers.volume(), host="h", pool="one")
    with pytest.raises(OperationPending, match="is being processed by 'alive'"):
        backend.resume_create_volume(store.add(replace(record, owner="alive")))
    assert (
        backend.resume_create_volume(store.add(replace(record, id=makers.new_id(), owner="dead"))).status
        is Status.AVAILABLE
    )


def test_the_same_id_twice_is_refused_before_the_driver_hears_of_it(backend: LocalBackend) -> None:
    record = makers.volume()
    backend.create_volume(record)
    with pytest.raises(AlreadyExists):
        backend.create_volume(record)
    assert driver(backend).calls["create_volume"] == 1


def test_a_record_changed_by_somebody_else_meanwhile_keeps_his_change(
    backend: LocalBackend, store: ObservedStore
) -> None:
    record = makers.volume()
    original = driver(backend).create_volume

    def meanwhile(volume: Any) -> Any:
        touch(store, store.get(Volume, volume.id))
        return original(volume)

    driver(backend).create_volume = meanwhile
    created = backend.create_volume(record)
    assert (created.status, created.labels) == (Status.AVAILABLE, {"touched": "yes"})


def test_a_volume_that_somebody_else_began_to_delete_is_not_made_available(
    backend: LocalBackend, store: ObservedStore
) -> None:
    original = driver(backend).create_volume

    def meanwhile(volume: Any) -> Any:
        store.replace(replace(store.get(Volume, volume.id), status=Status.DELETING))
        return original(volume)

    driver(backend).create_volume = meanwhile
    with pytest.raises(StaleRecord):
        backend.create_volume(makers.volume())


def test_a_volume_on_the_wrong_back_end_or_too_small_leaves_no_record(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    source = backend.create_volume(makers.volume(size=3))
    small = makers.volume(size=2, source=source)
    with pytest.raises(OutOfRange, match="less than the size of the source volume"):
        backend.create_volume(small)
    other = make("other")
    with pytest.raises(Unsupported, match="is on back end 'fake'"):
        other.create_volume(makers.volume("other", size=3, source=source))
    assert [one.id for one in store.page(Volume).records] == [source.id]


def test_a_clone_goes_into_the_pool_of_its_source(make: MakeBackend) -> None:
    backend = make(nothing_pools=["a", "b"])
    source = backend.create_volume(makers.volume(pool="b"))
    assert backend.create_volume(makers.volume(source=source)).pool == "b"
    restored = makers.volume(source=backend.create_snapshot(makers.snapshot(source)))
    assert backend.create_volume(restored).pool == "b"


def test_a_named_type_brings_its_specs(make: MakeBackend) -> None:
    gold = VolumeType(name="gold", extra_specs={"tier": "1"})
    backend = make(volume_types={"gold": gold})
    assert backend.create_volume(makers.volume(type=VolumeType(name="gold"))).type == gold


def test_a_volume_that_the_back_end_calls_busy_stays_available(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["delete_volume"], nothing_exception="VolumeIsBusy")
    created = backend.create_volume(makers.volume())
    with pytest.raises(InUse):
        backend.delete_volume(created)
    assert store.get(Volume, created.id).status is Status.AVAILABLE


@pytest.mark.parametrize("status", [Status.ERROR, Status.DELETING])
def test_a_volume_whose_creation_failed_is_never_whole_whatever_a_deletion_meets(
    make: MakeBackend, store: ObservedStore, status: Status
) -> None:
    """Also when an earlier deletion ended in the middle."""
    backend = make(nothing_fail=["create_volume", "delete_volume"], nothing_exception="VolumeIsBusy")
    record = makers.volume()
    with pytest.raises(InUse):
        backend.create_volume(record)
    left = store.get(Volume, record.id)
    assert left.status is Status.ERROR
    if status is Status.DELETING:
        store.replace(replace(left, status=status, unfinished=True))
    for _ in range(2):
        with pytest.raises(InUse):
            backend.delete_volume(store.get(Volume, record.id))
        assert store.get(Volume, record.id).status is Status.ERROR
    assert driver(backend).calls["remove_export"] == 0


def test_a_snapshot_whose_creation_failed_is_never_whole_whatever_a_deletion_meets(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(nothing_fail=["create_snapshot", "delete_snapshot"], nothing_exception="SnapshotIsBusy")
    record = makers.snapshot(backend.create_volume(makers.volume()))
    with pytest.raises(InUse):
        backend.create_snapshot(record)
    for status in (Status.ERROR, Status.DELETING):
        left = store.get(Snapshot, record.id)
        store.replace(replace(left, status=status))
        with pytest.raises(InUse):
            backend.delete_snapshot(store.get(Snapshot, record.id))
        assert store.get(Snapshot, record.id).status is Status.ERROR


def test_a_deletion_that_failed_is_repeated_from_its_record(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["delete_volume:1"])
    created = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.delete_volume(created)
    left = store.get(Volume, created.id)
    assert (left.status, left.message) == (Status.DELETING, "back end 'fake': the array says no")
    backend.delete_volume(left)
    with pytest.raises(NotFound):
        store.get(Volume, created.id)


def test_a_volume_that_vanished_from_the_array_can_be_deleted(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["delete_volume"], nothing_exception="VolumeNotFound", nothing_error="{id}")
    backend.delete_volume(backend.create_volume(makers.volume()))
    assert store.page(Volume).records == ()


def test_deleting_what_is_gone_is_fine(backend: LocalBackend) -> None:
    created = backend.create_volume(makers.volume())
    backend.delete_volume(created)
    backend.delete_volume(created)
    assert driver(backend).calls["delete_volume"] == 1


def test_a_stale_record_does_not_delete(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())
    touch(store, created)
    with pytest.raises(StaleRecord):
        backend.delete_volume(created)
    assert driver(backend).calls["delete_volume"] == 0


def test_a_snapshot_begun_while_a_deletion_begins_does_not_lose_its_volume(
    backend: LocalBackend, store: ObservedStore
) -> None:
    """Two processes: whichever writes its intent second sees the other's."""
    created = backend.create_volume(makers.volume())
    store.before["replace"] = lambda _record: store.add(makers.snapshot(created))
    with pytest.raises(InUse, match="has snapshots"):
        backend.delete_volume(created)
    assert store.get(Volume, created.id).status is Status.AVAILABLE


def test_a_failed_growth_leaves_the_volume_available_at_its_old_size(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["extend_volume"])
    created = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.extend_volume(created, GiB(2))
    left = store.get(Volume, created.id)
    assert (left.status, left.size) == (Status.AVAILABLE, 1)
    assert "extend failed" in left.message


def test_a_size_that_was_never_tried_is_not_taken_for_done(make: MakeBackend) -> None:
    backend = make(nothing_fail=["extend_volume"], nothing_error="New size matches existing size")
    with pytest.raises(BackendError, match="matches"):
        backend.extend_volume(backend.create_volume(makers.volume()), GiB(2))


def test_an_interrupted_growth_is_finished(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())
    left = store.replace(replace(created, status=Status.EXTENDING, target_size=GiB(4), owner="dead"))
    grown = backend.extend_volume(left, GiB(3))
    assert (grown.status, grown.size, grown.target_size) == (Status.AVAILABLE, 4, None)


def test_a_target_that_was_not_told_of_the_growth_does_not_matter(make: MakeBackend) -> None:
    backend = make(nothing_fail=["extend_volume"], nothing_exception="TargetUpdateFailed")
    assert backend.extend_volume(backend.create_volume(makers.volume()), GiB(2)).size == 2


def test_growing_to_the_present_size_does_nothing(backend: LocalBackend) -> None:
    created = backend.create_volume(makers.volume(size=2))
    assert backend.extend_volume(created, GiB(2)) is created
    assert driver(backend).calls["extend_volume"] == 0


def test_an_attached_volume_does_not_grow_where_the_driver_cannot(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_online_extend=False)
    created = backend.create_volume(makers.volume())
    backend.connect(created, makers.attachment(created))
    with pytest.raises(InUse, match="can extend only detached volumes"):
        backend.extend_volume(store.get(Volume, created.id), GiB(2))


def test_reverting_asks_the_driver_and_nobody_may_be_attached(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())
    taken = backend.create_snapshot(makers.snapshot(created))
    assert backend.revert_volume(created, taken).message == ""
    assert driver(backend).calls["revert_to_snapshot"] == 1
    current = store.get(Volume, created.id)
    backend.connect(current, makers.attachment(created))
    with pytest.raises(InUse):
        backend.revert_volume(store.get(Volume, created.id), taken)


def test_a_snapshot_of_another_size_is_not_reverted_to(backend: LocalBackend) -> None:
    created = backend.create_volume(makers.volume())
    taken = backend.create_snapshot(makers.snapshot(created))
    with pytest.raises(PreconditionFailed):
        backend.revert_volume(backend.extend_volume(created, GiB(2)), taken)


def test_a_full_array_is_told_from_a_broken_one(make: MakeBackend) -> None:
    backend = make(nothing_fail=["create_volume"], nothing_error="Insufficient free space: 5 extents available")
    with pytest.raises(ResourceExhausted, match="5 extents available"):
        backend.create_volume(makers.volume())


def test_a_type_that_the_driver_refuses_is_the_callers_mistake(make: MakeBackend) -> None:
    backend = make(nothing_fail=["create_volume"], nothing_exception="InvalidVolumeType")
    with pytest.raises(InvalidRequest):
        backend.create_volume(makers.volume())


def test_only_so_many_creations_at_a_time_reach_a_fragile_array(make: MakeBackend, tmp_path: Path) -> None:
    backend = make(max_concurrent_calls=4, nothing_held=str(tmp_path / "held"))
    (tmp_path / "held").touch()
    threads = [threading.Thread(target=backend.create_volume, args=(makers.volume(),)) for _ in range(8)]
    for one in threads:
        one.start()
    while driver(backend).delayed < 2:
        time.sleep(0.001)
    (tmp_path / "held").unlink()
    for one in threads:
        one.join()
    assert (driver(backend).calls["create_volume"], driver(backend).busiest) == (8, 2)


def test_a_failed_snapshot_leaves_nothing(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["create_snapshot"])
    created = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.create_snapshot(makers.snapshot(created))
    assert store.page(Snapshot).records == ()
    assert driver(backend).calls["delete_snapshot"] == 1


def test_an_interrupted_snapshot_is_taken_anew(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())
    left = store.add(replace(makers.snapshot(created), owner="dead"))
    assert backend.resume_create_snapshot(left).status is Status.AVAILABLE
    assert driver(backend).calls["delete_snapshot"] == 1


def test_a_snapshot_that_something_depends_on_stays(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["delete_snapshot"], nothing_exception="SnapshotIsBusy")
    taken = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    with pytest.raises(InUse):
        backend.delete_snapshot(taken)
    assert store.get(Snapshot, taken.id).status is Status.AVAILABLE


def test_no_snapshot_of_a_volume_that_is_being_deleted(backend: LocalBackend, store: ObservedStore) -> None:
    created = backend.create_volume(makers.volume())
    store.before["add"] = lambda _record: store.replace(replace(created, status=Status.DELETING))
    with pytest.raises(NotFound, match="is being deleted"):
        backend.create_snapshot(makers.snapshot(created))
    assert store.page(Snapshot).records == ()
