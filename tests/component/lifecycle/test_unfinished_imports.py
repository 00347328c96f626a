"""Imports that fail or are interrupted, their candidates, and imports of snapshots. No file is ever deleted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    InvalidRequest,
    NotFound,
    OutOfRange,
    PreconditionFailed,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from csi_cinderlib.provisioning.orphans import Orphans
from tests.support.existing_files import Add, content_of, origin, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, failing

# --- candidates


def test_candidates_are_listed_with_the_reason_why_one_cannot_be_imported(
    importing: Importing, files: LocalBackend, add: Add
) -> None:
    created = files.create_volume(makers.volume("files"))
    add("a.img", 2 * BYTES_PER_GIB)
    add("static.img")
    importing.volume(wanted("static.img", static=True))
    with add("used.img").open("rb"):
        listed = {item.reference["source-name"]: item for item in importing.candidates("files")}
    assert (listed["a.img"].size, listed["a.img"].problem, listed["a.img"].remark) == (2, "", "pool one")
    assert listed["used.img"].problem == "in use: open in another process on this host"
    assert f"it is volume '{created.id}'" in listed[f"volume-{created.id}"].problem
    assert "it is volume" in listed["static.img"].problem
    files.delete_volume(created)


# --- failures


def test_a_failed_import_leaves_the_file_under_its_name_and_no_record(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    failing(files.driver, "manage_existing", RuntimeError("no"))
    with pytest.raises(BackendError, match="no"):
        importing.volume(wanted())
    assert store.page(Volume).records == ()
    assert (directory / "disk.img").exists()


def test_an_import_without_an_answer_is_finished_by_its_repetition_or_undone(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add, make: MakeBackend
) -> None:
    add("disk.img")
    failing(files.driver, "manage_existing", AWAY)
    with pytest.raises(BackendUnavailable):
        importing.volume(wanted())
    (left,) = store.page(Volume).records
    assert (left.status, left.owner) == (Status.IMPORTING, "")
    with pytest.raises(PreconditionFailed, match="is importing; repeat or undo its import"):
        files.delete_volume(left)
    importing.undo(Volume, origin())
    assert store.page(Volume).records == ()


@pytest.mark.parametrize("status", [Status.IMPORTING, Status.UNMANAGING])
def test_an_unfinished_import_is_listed_and_can_be_given_up_but_its_file_is_never_deleted(
    importing: Importing, store: ObservedStore, backends: Backends, directory: Path, add: Add, status: Status
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    store.replace(replace(store.get(Volume, volume.id), status=status, created_at="2020-01-01T00:00:00.000000Z"))
    orphans = Orphans(store, backends, KeyedLocks())
    settled = orphans.settle()
    if status is Status.IMPORTING:
        assert settled == ()
        assert [orphan.fix for orphan in orphans.find(nodes_too=False)] == ["undo the import"]
        orphans.fix(volume.id)
    assert store.page(Volume).records == ()
    assert (directory / "disk.img").exists()


def test_a_volume_that_cannot_be_given_up_is_forgotten_on_request(
    importing: Importing, files: LocalBackend, store: ObservedStore, backends: Backends, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    failing(files.driver, "unmanage", AWAY)
    with pytest.raises(BackendUnavailable):
        importing.undo(Volume, origin())
    orphans = Orphans(store, backends, KeyedLocks())
    assert orphans.forget(volume.id) == (f"the record of volume {volume.id!r} on back end 'files'",)


# --- snapshots


def test_a_snapshot_is_imported_restored_and_given_up(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    volume = files.create_volume(makers.volume("files"))
    add("snapshot-monday")
    listed = [item for item in importing.candidates("files", snapshots=True) if not item.problem]
    assert [item.reference for item in listed] == [{"source-name": "snapshot-monday"}]
    snapshot = importing.snapshot(origin("snapshot-monday"), volume.id)
    assert (snapshot.status, snapshot.volume_id, snapshot.blank) == (Status.AVAILABLE, volume.id, False)
    restored = files.create_volume(makers.volume("files", source=snapshot))
    assert content_of(directory / f"volume-{restored.id}") == "snapshot-monday"
    files.delete_volume(restored)
    assert importing.undo(Snapshot, origin("snapshot-monday")).name == "snapshot-monday"
    assert store.page(Snapshot).records == ()
    files.delete_volume(volume)


def test_a_snapshot_of_another_back_end_or_larger_than_its_volume_is_refused(
    importing: Importing, files: LocalBackend, make: MakeBackend, add: Add
) -> None:
    volume = files.create_volume(makers.volume("files"))
    elsewhere = make("nothing").create_volume(makers.volume("nothing"))
    add("large", 2 * BYTES_PER_GIB)
    with pytest.raises(OutOfRange, match="snapshot 'large' has 2 GiB, its volume only 1 GiB"):
        importing.snapshot(origin("large"), volume.id)
    with pytest.raises(InvalidRequest, match="is on back end 'nothing', not 'files'"):
        importing.snapshot(origin("large"), elsewhere.id)
    with pytest.raises(NotFound):
        importing.snapshot(origin("large"), "unknown")
    files.delete_volume(volume)


# --- an array that finds volumes by its own ids


@pytest.fixture
def array(make: MakeBackend) -> LocalBackend:
    return make("array", driver="tests.support.fakes.existing.ArrayWithVolumes")


@pytest.fixture
def on_array(array: LocalBackend, store: ObservedStore) -> Importing:
    return Importing(store, Backends([array]), KeyedLocks())


def lun(name: str = "7") -> ImportVolume:
    return ImportVolume(origin=Origin(backend="array", name=name, by_id=True, unchecked=True))


def test_an_array_is_given_the_id_and_chooses_the_name_afterwards(
    on_array: Importing, array: LocalBackend, store: ObservedStore
) -> None:
    volume = on_array.volume(lun())
    assert (volume.provider.id, volume.imported and volume.imported.reference) == ("7", {"source-id": "7"})
    given = on_array.undo(Volume, lun().origin)
    assert (given.name, store.page(Volume).records) == ("", ())
    calls = array.driver.calls
    assert (calls["unmanage"], calls["delete_volume"]) == (1, 0)


def test_an_import_that_an_array_did_not_answer_asks_again_by_the_id(
    on_array: Importing, array: LocalBackend, store: ObservedStore
) -> None:
    works = array.driver.manage_existing
    failing(array.driver, "manage_existing", AWAY)
    with pytest.raises(BackendUnavailable):
        on_array.volume(lun())
    array.driver.manage_existing = works
    assert on_array.volume(lun()).provider.id == "7"


def test_a_failed_import_by_id_leaves_its_record_because_the_name_may_have_changed(
    on_array: Importing, array: LocalBackend, store: ObservedStore
) -> None:
    works = array.driver.manage_existing
    failing(array.driver, "manage_existing", RuntimeError("no"))
    with pytest.raises(BackendError, match="no"):
        on_array.volume(lun())
    (left,) = store.page(Volume).records
    assert left.status is Status.IMPORTING
    assert "no; the object may have another name; repeat or undo the import" in left.message
    assert (array.driver.calls["delete_volume"], array.driver.calls["unmanage"]) == (0, 0)
    array.driver.manage_existing = works
    assert on_array.volume(lun()).id == left.id
