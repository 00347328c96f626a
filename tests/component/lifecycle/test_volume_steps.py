"""Volumes step by step: what is written down, what the driver is asked, and what is left when a step fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    CorruptRecord,
    DriverError,
    InUse,
    OutOfRange,
    PreconditionFailed,
    Unsupported,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence import codec
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, cinders, failing, observe

LONG_AGO = "2020-01-01T00:00:00.000000Z"


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


@pytest.fixture
def volume(backend: LocalBackend) -> Volume:
    return backend.create_volume(makers.volume())


@pytest.fixture
def snapshot(backend: LocalBackend, volume: Volume) -> Snapshot:
    return backend.create_snapshot(makers.snapshot(volume))


# --- creation


def test_a_creation_names_its_owner_and_its_time_from_the_start(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    seen = observe(driver, "create_volume", lambda made: store.get(Volume, made.id))
    made = backend.create_volume(replace(makers.volume(), status=Status.ERROR, message="old"))
    assert (seen[0].status, seen[0].owner, seen[0].blank, bool(seen[0].created_at)) == (
        Status.CREATING,
        "me",
        True,
        True,
    )
    assert (made.status, made.owner, made.message, made.unfinished) == (Status.AVAILABLE, "", "", False)
    assert backend.create_volume(replace(makers.volume(), created_at=LONG_AGO)).created_at == LONG_AGO


@pytest.mark.parametrize(("status", "error"), makers.NOT_COPYABLE.items())
def test_what_is_not_whole_is_no_source(
    backend: LocalBackend,
    volume: Volume,
    snapshot: Snapshot,
    store: ObservedStore,
    status: Status,
    error: type[DriverError],
) -> None:
    sources: list[Any] = [volume, snapshot]
    for source in sources:
        store.replace(replace(store.get(type(source), source.id), status=status))
        with pytest.raises(error, match=f"{source.id!r}"):
            backend.create_volume(makers.volume(source=source))
    assert [record.id for record in store.page(Volume).records] == [volume.id]


def test_a_snapshot_is_a_source_on_its_own_back_end_and_of_its_size(
    make: MakeBackend, backend: LocalBackend, store: ObservedStore
) -> None:
    snapshot = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume(size=3))))
    with pytest.raises(OutOfRange, match=f"{2 << 30} bytes is less than the size of the source snapshot .{3 << 30}"):
        backend.create_volume(makers.volume(size=2, source=snapshot))
    with pytest.raises(Unsupported, match="is on back end 'fake'; a copy on 'other' is not possible"):
        make("other").create_volume(makers.volume("other", size=3, source=snapshot))
    assert backend.create_volume(makers.volume(size=3, source=snapshot)).size == 3


@pytest.mark.parametrize(
    ("fake", "size", "grown"), [("NfsDriver", 3, ["nowhere"]), ("NfsDriver", 2, []), ("NothingDriver", 3, [])]
)
def test_only_a_clone_made_at_its_sources_size_is_extended_to_the_requested_size(
    make: MakeBackend, fake: str, size: int, grown: list[str]
) -> None:
    backend = make(driver=f"tests.support.fakes.nothing.{fake}")
    driver: Any = backend.driver
    source = backend.create_volume(makers.volume(size=2))
    seen = observe(driver, "extend_volume", lambda clone, _size: clone.provider_location.partition("/")[0])
    clone = backend.create_volume(makers.volume(size=size, source=source))
    assert (clone.size, driver.volumes[clone.id], seen) == (size, size, grown)


@pytest.mark.parametrize("status", [Status.DELETING, Status.EXTENDING])
def test_only_a_creation_is_resumed(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore, status: Status
) -> None:
    left = store.replace(replace(volume, status=status))
    with pytest.raises(PreconditionFailed, match=f"is {status}; its creation cannot be resumed"):
        backend.resume_create_volume(left)
    assert driver.calls["delete_volume"] == 0


def test_a_resumed_creation_is_ones_own_before_anything_is_deleted(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    left = store.replace(replace(volume, status=Status.ERROR, owner="dead", message="no space", unfinished=True))
    seen = observe(driver, "delete_volume", lambda doomed: store.get(Volume, doomed.id))
    made = backend.resume_create_volume(left)
    assert [(record.status, record.owner, record.message) for record in seen] == [(Status.CREATING, "me", "")]
    assert (made.status, made.owner, made.message, made.unfinished) == (Status.AVAILABLE, "", "", False)


def test_a_clean_up_that_fails_does_not_keep_a_volume_from_being_made_unless_the_array_is_away(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    failing(driver, "delete_volume", RuntimeError("there is none"))
    made = backend.resume_create_volume(store.replace(replace(volume, status=Status.ERROR)))
    assert made.status is Status.AVAILABLE
    failing(driver, "delete_volume", AWAY)
    calls = driver.calls["create_volume"]
    with pytest.raises(BackendUnavailable):
        backend.resume_create_volume(store.replace(replace(made, status=Status.ERROR)))
    assert driver.calls["create_volume"] == calls


def test_what_the_array_does_not_have_leaves_no_record_of_a_failed_creation(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    record = makers.volume()
    failing(driver, "create_volume", RuntimeError("no space"))
    failing(driver, "delete_volume", cinders("VolumeNotFound", volume_id=record.id))
    with pytest.raises(BackendError, match="no space"):
        backend.create_volume(record)
    assert store.page(Volume).records == ()


def test_what_could_not_be_deleted_has_a_record_that_says_so(
    backend: LocalBackend, driver: Any, store: ObservedStore
) -> None:
    failing(driver, "create_volume", RuntimeError("no space"))
    failing(driver, "delete_volume", RuntimeError("stuck"))
    with pytest.raises(BackendError, match="no space"):
        backend.create_volume(makers.volume())
    (left,) = store.page(Volume).records
    assert left.status is Status.ERROR
    assert "no space; clean-up failed as well: back end 'fake': stuck" in left.message


# --- deletion


def test_an_intent_to_delete_is_visible_to_the_driver_and_others(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    seen = observe(driver, "delete_volume", lambda doomed: store.get(Volume, doomed.id))
    order = observe(driver, "remove_export", lambda _context, doomed: driver.calls["delete_volume"])
    backend.delete_volume(volume)
    assert [(record.status, record.owner, record.unfinished) for record in seen] == [(Status.DELETING, "me", False)]
    assert order == [0], "it is taken from the nodes first"


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR])
def test_what_was_never_made_was_never_exported(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore, status: Status
) -> None:
    backend.delete_volume(store.replace(replace(volume, status=status)))
    assert (driver.calls["remove_export"], driver.calls["delete_volume"]) == (0, 1)
    assert store.page(Volume).records == ()


def test_a_volume_with_an_attachment_that_cannot_be_read_stays_as_it_was(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    left = store.replace(replace(volume, status=Status.ERROR, message="no space", owner="dead"))
    store._put_raw(Attachment, "broken", "1-x", f'{{"volume_id": "{volume.id}"}}')
    with pytest.raises(CorruptRecord, match="attachment 'broken'"):
        backend.delete_volume(left)
    kept = store.get(Volume, volume.id)
    assert (kept.status, kept.message, kept.owner) == (Status.ERROR, "no space", "dead")
    assert driver.calls["delete_volume"] == 0


def test_a_deletion_that_could_not_read_an_attachment_ends_although_the_record_is_repaired_meanwhile(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    attachment = makers.attachment(volume)

    def repair(_record: object) -> None:
        store._put_raw(Attachment, attachment.id, "2-x", codec.to_text(attachment))

    def damage(_intent: object) -> None:
        store._put_raw(Attachment, attachment.id, "1-x", f'{{"volume_id": "{volume.id}"}}')
        store.before.update(replace=repair)

    store.before["replace"] = damage
    with pytest.raises(CorruptRecord):
        backend.delete_volume(volume)
    assert driver.volumes == {volume.id: 1}
    assert len(store.page(Attachment).records) == 1


def test_no_intent_to_delete_an_attached_volume_is_written(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    """A kill amid the refusal would leave a volume that is in use as one that is being deleted."""
    attachment = backend.connect(volume, makers.attachment(volume))
    volume = store.get(Volume, volume.id)
    with pytest.raises(InUse, match=f"is attached to {attachment.node_id}"):
        backend.delete_volume(volume)
    assert store.get(Volume, volume.id).revision == volume.revision
    store._put_raw(Attachment, attachment.id, "1-x", f'{{"volume_id": "{volume.id}"}}')
    with pytest.raises(CorruptRecord):
        backend.delete_volume(volume)
    assert store.get(Volume, volume.id).revision == volume.revision


def test_a_refused_deletion_leaves_the_volume_to_nobody(
    backend: LocalBackend, volume: Volume, store: ObservedStore
) -> None:
    backend.create_snapshot(makers.snapshot(volume))
    with pytest.raises(InUse, match="has snapshots"):
        backend.delete_volume(volume)
    kept = store.get(Volume, volume.id)
    assert (kept.status, kept.owner, kept.message) == (Status.AVAILABLE, "", "")


def test_a_refused_deletion_of_what_failed_says_so(backend: LocalBackend, volume: Volume, store: ObservedStore) -> None:
    backend.create_snapshot(makers.snapshot(volume))
    with pytest.raises(InUse):
        backend.delete_volume(store.replace(replace(volume, status=Status.ERROR)))
    kept = store.get(Volume, volume.id)
    assert (kept.status, kept.owner) == (Status.ERROR, "")
    assert kept.message == "its creation failed, and the back end refused to delete the remains"


def test_a_failed_deletion_says_why_and_whose_it_is(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    failing(driver, "remove_export", RuntimeError("stuck"))
    with pytest.raises(BackendError, match="stuck"):
        backend.delete_volume(volume)
    left = store.get(Volume, volume.id)
    assert (left.status, left.owner, left.message) == (Status.DELETING, "me", "back end 'fake': stuck")
    assert driver.calls["delete_volume"] == 0


# --- growth


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_what_is_not_whole_does_not_grow(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore, status: Status
) -> None:
    with pytest.raises(PreconditionFailed, match=f"is {status}"):
        backend.extend_volume(store.replace(replace(volume, status=status)), GiB(2))
    assert driver.calls["extend_volume"] == 0


def test_how_far_a_volume_is_to_grow_is_written_down_first(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    seen = observe(driver, "extend_volume", lambda grown, size: (store.get(Volume, grown.id), size))
    grown = backend.extend_volume(volume, GiB(3))
    ((intent, size),) = seen
    assert (intent.status, intent.owner, intent.target_size, intent.size, size) == (Status.EXTENDING, "me", 3, 1, 3)
    assert (grown.status, grown.owner, grown.target_size, grown.size, grown.message) == (
        Status.AVAILABLE,
        "",
        None,
        3,
        "",
    )


def test_a_finished_growth_has_no_message(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    observe(
        driver,
        "extend_volume",
        lambda grown, _size: store.replace(replace(store.get(Volume, grown.id), message="slow")),
    )
    assert backend.extend_volume(volume, GiB(2)).message == ""


def test_a_growth_after_a_failed_one_goes_as_far_as_it_is_asked(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(nothing_fail=["extend_volume:1"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.extend_volume(volume, GiB(4))
    assert backend.extend_volume(store.get(Volume, volume.id), GiB(2)).size == 2


@pytest.mark.parametrize(("target", "asked", "size"), [(4, 2, 4), (2, 4, 4), (None, 3, 3)])
def test_a_resumed_growth_goes_as_far_as_either_asked(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore, target: int | None, asked: int, size: int
) -> None:
    aim = GiB(target) if target else None
    left = store.replace(replace(volume, status=Status.EXTENDING, target_size=aim, owner="dead"))
    assert backend.extend_volume(left, GiB(asked)).size == size
    assert driver.volumes[volume.id] == size


def test_a_resumed_growth_to_the_size_that_was_found_already_only_ends(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    left = store.replace(replace(volume, status=Status.EXTENDING, target_size=GiB(1), owner="dead"))
    assert backend.extend_volume(left, GiB(1)).status is Status.AVAILABLE
    assert driver.calls["extend_volume"] == 0


def test_a_failed_growth_belongs_to_nobody(
    backend: LocalBackend, driver: Any, volume: Volume, store: ObservedStore
) -> None:
    failing(driver, "extend_volume", RuntimeError("no space"))
    with pytest.raises(BackendError):
        backend.extend_volume(volume, GiB(2))
    left = store.get(Volume, volume.id)
    assert (left.status, left.owner, left.size) == (Status.AVAILABLE, "", 1)
    assert left.message == "extend failed: back end 'fake': no space"


# --- revert


def test_a_revert_is_noted_while_it_runs(
    backend: LocalBackend, driver: Any, volume: Volume, snapshot: Snapshot, store: ObservedStore
) -> None:
    seen = observe(
        driver, "revert_to_snapshot", lambda _context, record, taken: (store.get(Volume, record.id).message, taken.id)
    )
    assert backend.revert_volume(store.get(Volume, volume.id), snapshot).message == ""
    assert seen == [(f"being reverted to {snapshot.id}", snapshot.id)]


def test_a_driver_reverts_the_volume_of_the_snapshot_and_no_copy_of_it(
    backend: LocalBackend, driver: Any, volume: Volume, snapshot: Snapshot
) -> None:
    same = observe(driver, "revert_to_snapshot", lambda _context, record, taken: taken.volume is record)
    backend.revert_volume(volume, snapshot)
    assert same == [True]


def test_only_what_is_whole_is_reverted_and_to_a_snapshot_of_its_own(
    backend: LocalBackend, driver: Any, volume: Volume, snapshot: Snapshot
) -> None:
    other = backend.create_volume(makers.volume())
    for record, taken in (
        (replace(volume, status=Status.ERROR), snapshot),
        (volume, replace(snapshot, status=Status.ERROR)),
        (other, snapshot),
    ):
        with pytest.raises(PreconditionFailed):
            backend.revert_volume(record, taken)
    assert driver.calls["revert_to_snapshot"] == 0


def test_an_id_that_a_driver_did_not_save_before_it_failed_is_known_to_the_clean_up(backend: LocalBackend) -> None:
    driver: Any = backend.driver

    def assign_and_fail(volume: Any) -> None:
        volume.provider_id = "lun-7"
        raise RuntimeError("the array is full")

    driver.create_volume = assign_and_fail
    deleted = observe(driver, "delete_volume", lambda volume: volume.provider_id)
    with pytest.raises(BackendError, match="the array is full"):
        backend.create_volume(makers.volume())
    assert deleted == ["lun-7"]


def test_an_id_of_a_failed_attempt_is_not_given_to_who_has_taken_the_record_over(
    backend: LocalBackend, store: ObservedStore
) -> None:
    driver: Any = backend.driver

    def lose_and_fail(volume: Any) -> None:
        volume.provider_id = "lun-7"
        store.replace(replace(store.get(Volume, volume.id), owner="other"))
        raise RuntimeError("the array is full")

    driver.create_volume = lose_and_fail
    wanted = makers.volume()
    with pytest.raises(BackendError, match="the array is full"):
        backend.create_volume(wanted)
    assert store.get(Volume, wanted.id).provider.id is None
