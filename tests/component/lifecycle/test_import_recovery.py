"""An unknown state is never taken for a missing object, and no failed or interrupted import loses an object's name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import BackendError, BackendUnavailable, DriverError, InUse, PreconditionFailed
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Modification, Snapshot, Status, Volume, VolumeType
from csi_cinderlib.model.size import BYTES_PER_GIB
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from csi_cinderlib.provisioning.restored import void_types
from tests.support.existing_files import Add, origin, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, failing, observe


def left_importing(store: ObservedStore, volume: Volume) -> None:
    """As a kill leaves it after the record was stored."""
    store.replace(replace(store.get(Volume, volume.id), status=Status.IMPORTING, owner=""))


def without_answer(files: LocalBackend, method: str) -> Any:
    """The driver carries out the call, and its answer is lost. Returns the working method."""
    works = getattr(files.driver, method)

    def late(*arguments: Any) -> None:
        works(*arguments)
        raise BackendUnavailable("files", "no answer")

    setattr(files.driver, method, late)
    return works


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file() and path.name[0] != ".")


# --- unknown is not absent


def test_nothing_is_given_up_while_its_pool_is_not_mounted(
    importing: Importing, store: ObservedStore, directory: Path, tmp_path: Path, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    directory.rename(tmp_path / "away")
    directory.mkdir()
    with pytest.raises(DriverError, match="is no longer a pool"):
        importing.undo(Volume, origin())
    assert store.get(Volume, volume.id).status is Status.UNMANAGING
    directory.rmdir()
    (tmp_path / "away").rename(directory)
    assert importing.undo(Volume, origin()).name == "disk.img"


def test_an_import_that_was_renamed_is_not_forgotten_while_its_pool_is_not_mounted(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, tmp_path: Path, add: Add
) -> None:
    add("disk.img")
    works = without_answer(files, "manage_existing")
    with pytest.raises(BackendUnavailable):
        importing.volume(wanted())
    files.driver.manage_existing = works
    directory.rename(tmp_path / "away")
    directory.mkdir()
    with pytest.raises(DriverError, match="is no longer a pool"):
        importing.volume(wanted())
    assert [record.status for record in store.page(Volume).records] == [Status.IMPORTING]
    directory.rmdir()
    (tmp_path / "away").rename(directory)
    assert importing.volume(wanted()).status is Status.AVAILABLE


def test_nothing_is_given_up_if_the_back_end_cannot_look(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    works = files.driver.manage_existing_get_size
    volume = importing.volume(wanted())
    failing(files.driver, "manage_existing_get_size", RuntimeError("locking failed"))
    with pytest.raises(BackendError, match="locking failed"):
        importing.undo(Volume, origin())
    assert store.get(Volume, volume.id).message == "back end 'files': locking failed"
    files.driver.manage_existing_get_size = works
    assert (importing.undo(Volume, origin()).name, names(directory)) == ("disk.img", ["disk.img"])


def test_a_record_whose_object_is_certainly_gone_is_kept_until_it_is_forgotten(
    importing: Importing, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    file = directory / f"volume-{volume.id}"
    file.rename(directory / ".elsewhere")
    with pytest.raises(BackendError, match=r"'volume-.*' was not found; it was not given up"):
        importing.undo(Volume, origin())
    assert store.get(Volume, volume.id).status is Status.UNMANAGING
    (directory / ".elsewhere").rename(file)
    importing.undo(Volume, origin())


# --- interrupted imports


@pytest.mark.parametrize("static", [True, False])
def test_a_resumed_import_is_examined_again(
    importing: Importing, store: ObservedStore, directory: Path, add: Add, static: bool
) -> None:
    path = add("disk.img")
    volume = importing.volume(wanted(static=static))
    name = path if static else directory / f"volume-{volume.id}"
    left_importing(store, volume)
    with name.open("rb"), pytest.raises(InUse, match="open in another process"):
        importing.volume(wanted(static=static))
    name.rename(directory / ".elsewhere")
    with pytest.raises(PreconditionFailed, match="was not found under that name"):
        importing.volume(wanted(static=static))
    (directory / ".elsewhere").rename(name)
    assert importing.volume(wanted(static=static)).status is Status.AVAILABLE


def test_an_import_killed_between_the_two_names_is_finished(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    works = files.driver.manage_existing

    def half(volume: Any, _reference: Any) -> None:
        os.link(directory / "disk.img", directory / volume.name)
        raise BackendUnavailable("files", "killed")

    files.driver.manage_existing = half
    with pytest.raises(BackendUnavailable):
        importing.volume(wanted())
    files.driver.manage_existing = works
    volume = importing.volume(wanted())
    assert (volume.status, names(directory)) == (Status.AVAILABLE, [f"volume-{volume.id}"])


def test_a_file_with_a_second_name_is_refused(importing: Importing, store: ObservedStore, add: Add) -> None:
    path = add("disk.img")
    second = path.with_name("second.img")
    second.hardlink_to(path)
    for static in (True, False):
        with pytest.raises(InUse, match=r"the file has 2 names \(hard links\)"):
            importing.volume(wanted(static=static))
    second.unlink()
    assert store.page(Volume).records == ()


def test_an_object_whose_new_name_is_taken_keeps_its_size_and_name(
    importing: Importing, files: LocalBackend, directory: Path, add: Add
) -> None:
    path = add("disk.img", BYTES_PER_GIB + 512)
    works = files.driver.manage_existing
    taken = observe(files.driver, "manage_existing", lambda volume, _: (directory / volume.name).write_bytes(b""))
    with pytest.raises(DriverError, match="File exists"):
        importing.volume(wanted(round_up=True))
    assert (path.stat().st_size, taken) == (BYTES_PER_GIB + 512, [0])
    files.driver.manage_existing = works
    next(directory.glob("volume-*")).unlink()
    importing.undo(Volume, origin())
    assert importing.volume(wanted(round_up=True)).size == 2


def test_an_import_killed_before_the_file_was_extended_is_completed(
    importing: Importing, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img", BYTES_PER_GIB + 512)
    volume = importing.volume(wanted(round_up=True))
    path = directory / f"volume-{volume.id}"
    os.truncate(path, BYTES_PER_GIB + 512)
    left_importing(store, volume)
    assert importing.volume(wanted(round_up=True)).status is Status.AVAILABLE
    assert path.stat().st_size == 2 * BYTES_PER_GIB


def test_an_import_killed_after_the_renaming_is_begun_again_so_that_the_driver_finishes_it(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    left_importing(store, volume)
    names = observe(files.driver, "manage_existing", lambda _, reference: reference["source-name"])
    assert importing.volume(wanted()).status is Status.AVAILABLE
    assert names == [f"volume-{volume.id}", "disk.img"]


def test_an_import_killed_after_the_renaming_whose_former_name_is_taken_can_only_be_undone(
    importing: Importing, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    left_importing(store, volume)
    other = directory / "disk.img"
    other.touch()
    with pytest.raises(PreconditionFailed, match=r"another object has its former name; undo the import"):
        importing.volume(wanted())
    assert importing.undo(Volume, origin()).name == f"volume-{volume.id}"


def test_a_volume_that_is_being_modified_is_not_given_up(importing: Importing, store: ObservedStore, add: Add) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    begun = Modification(origin=volume.type, wanted=VolumeType(extra_specs={"provisioning:type": "thick"}))
    store.replace(replace(store.get(Volume, volume.id), modification=begun))
    with pytest.raises(PreconditionFailed, match="is being modified; finish or take back that modification first"):
        importing.undo(Volume, origin())
    assert store.get(Volume, volume.id).status is Status.AVAILABLE


def test_a_volume_of_a_restored_copy_is_given_up(importing: Importing, store: ObservedStore, add: Add) -> None:
    """The mark of its properties is no modification."""
    add("disk.img")
    importing.volume(wanted())
    assert void_types(store) == 1
    assert importing.undo(Volume, origin()).name == "disk.img"
    assert store.page(Volume).records == ()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"QFI\xfb", "qcow2"),
        (b"KDMV", "VMDK"),
        (b"conectix", "VHD"),
        (b"vhdxfile", "VHDX"),
        (b"\0" * 64 + b"\x7f\x10\xda\xbe", "VDI"),
    ],
)
def test_a_disk_image_in_another_format_is_refused(
    importing: Importing, directory: Path, head: bytes, kind: str
) -> None:
    path = directory / "disk.img"
    path.write_bytes(head)
    for request in (wanted(static=True), wanted(round_up=True)):
        with pytest.raises(InUse, match=f"it is a disk image in the format {kind}; convert it to raw first"):
            importing.volume(request)
    (listed,) = importing.candidates("files")
    assert kind in listed.problem
    assert path.read_bytes() == head


# --- snapshots


def test_a_snapshot_that_outlived_its_volume_gets_its_name_back(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    volume = files.create_volume(makers.volume("files"))
    add("snapshot-monday")
    importing.snapshot(origin("snapshot-monday"), volume.id)
    files.delete_volume(volume)
    assert importing.undo(Snapshot, origin("snapshot-monday")).name == "snapshot-monday"
    assert names(directory) == ["snapshot-monday"]
    assert (store.page(Snapshot).records, store.page(Volume).records) == ((), ())


def test_a_volume_is_not_deleted_while_an_import_of_its_snapshot_is_unfinished(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add
) -> None:
    volume = files.create_volume(makers.volume("files"))
    add("snapshot-monday")
    works = without_answer(files, "manage_existing_snapshot")
    with pytest.raises(BackendUnavailable):
        importing.snapshot(origin("snapshot-monday"), volume.id)
    files.driver.manage_existing_snapshot = works
    with pytest.raises(InUse, match="is still being created, imported, adopted or given up"):
        files.delete_volume(volume)
    assert importing.snapshot(origin("snapshot-monday"), volume.id).status is Status.AVAILABLE
    assert importing.undo(Snapshot, origin("snapshot-monday")).name == "snapshot-monday"
    files.delete_volume(store.get(Volume, volume.id))


# --- an array with names of its own


@pytest.fixture
def array(make: MakeBackend) -> LocalBackend:
    made = make("array", driver="tests.support.fakes.arrays_with_luns.OwnNames")
    made.driver.luns = {"lun1": "data"}
    return made


LUN = ImportVolume(origin=Origin(backend="array", name="lun1", unchecked=True))


@pytest.mark.parametrize("late", [AWAY, RuntimeError("QoS rejected")])
def test_an_array_that_renamed_a_lun_before_it_failed_keeps_its_record(
    array: LocalBackend, store: ObservedStore, late: Exception
) -> None:
    importing = Importing(store, Backends([array]), KeyedLocks())
    array.driver.late = late
    with pytest.raises(DriverError):
        importing.volume(LUN)
    array.driver.late = None
    (left,) = store.page(Volume).records
    assert (left.status, array.driver.luns) == (Status.IMPORTING, {f"own-{left.id}": "data"})
    with pytest.raises(DriverError):
        importing.volume(LUN)
    assert (store.get(Volume, left.id).status, array.driver.luns) == (Status.IMPORTING, {f"own-{left.id}": "data"})
    assert importing.undo(Volume, LUN.origin).name == ""
    assert array.driver.luns == {f"given-{left.id}": "data"}
    assert [(note.name, note.reason) for _, note in leftovers.walk(store) if note is not None] == [
        ("lun1", "its driver chose a new name when the import was undone")
    ]


def test_an_array_that_failed_before_it_renamed_a_lun_has_no_record(array: LocalBackend, store: ObservedStore) -> None:
    importing = Importing(store, Backends([array]), KeyedLocks())
    failing(array.driver, "manage_existing", RuntimeError("no"))
    with pytest.raises(BackendError, match="no"):
        importing.volume(LUN)
    assert (store.page(Volume).records, array.driver.luns) == ((), {"lun1": "data"})
