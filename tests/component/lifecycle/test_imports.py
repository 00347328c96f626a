"""Files that exist already become volumes of the file driver, and are given up again. None is ever deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    DriverError,
    InUse,
    InvalidRequest,
    NotFound,
    OutOfRange,
    Unsupported,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB, GiB
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from tests.support.existing_files import LOOP_FILE, Add, content_of, origin, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

# --- import and undo


def test_an_imported_file_gets_the_name_of_its_volume_and_keeps_itscontent_of(
    importing: Importing, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img", 3 * BYTES_PER_GIB)
    volume = importing.volume(wanted())
    assert (volume.status, volume.size, volume.pool, volume.blank) == (Status.AVAILABLE, 3, "one", False)
    assert volume.imported is not None
    assert (volume.imported.name, volume.imported.reference) == ("disk.img", {"source-name": "disk.img"})
    assert volume.type is None, "nobody knows what properties the file has"
    assert not (directory / "disk.img").exists()
    assert content_of(directory / f"volume-{volume.id}") == "disk.img"
    assert store.get(Volume, volume.id) == volume


def test_the_intent_names_the_file_before_the_driver_is_asked(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add
) -> None:
    add("disk.img")
    seen = observe(files.driver, "manage_existing", lambda volume, _reference: store.get(Volume, volume.id))
    importing.volume(wanted())
    assert [(record.status, record.owner, record.imported and record.imported.name) for record in seen] == [
        (Status.IMPORTING, "me", "disk.img")
    ]


def test_an_import_can_be_repeated(importing: Importing, add: Add) -> None:
    add("disk.img")
    assert importing.volume(wanted()) == importing.volume(wanted())


def test_an_undone_import_gives_the_file_its_former_name_and_its_id_is_never_used_again(
    importing: Importing, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    undone = importing.undo(Volume, origin())
    assert (undone.record and undone.record.id, undone.name, undone.ids) == (volume.id, "disk.img", (volume.id,))
    assert content_of(directory / "disk.img") == "disk.img"
    assert store.page(Volume).records == ()
    again = importing.undo(Volume, origin())
    assert (again.record, again.ids) == (None, (volume.id,))
    second = importing.volume(wanted())
    assert second.id != volume.id
    assert set(importing.undo(Volume, origin()).ids) == {volume.id, second.id}


def test_an_undone_import_keeps_its_new_name_if_the_former_one_is_taken(
    importing: Importing, directory: Path, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    (directory / "disk.img").write_bytes(b"")
    assert importing.undo(Volume, origin()).name == f"volume-{volume.id}"


def test_a_dry_run_changes_nothing(importing: Importing, store: ObservedStore, directory: Path, add: Add) -> None:
    add("disk.img", 2 * BYTES_PER_GIB)
    assert importing.volume(wanted(), dry_run=True).size == 2
    assert store.page(Volume).records == ()
    importing.volume(wanted())
    importing.undo(Volume, origin(), dry_run=True)
    assert len(store.page(Volume).records) == 1
    assert not (directory / "disk.img").exists()


def test_a_managed_volume_is_deleted_like_any_other(importing: Importing, files: LocalBackend, directory: Path) -> None:
    (directory / "disk.img").write_bytes(b"")
    with (directory / "disk.img").open("r+b") as file:
        file.truncate(BYTES_PER_GIB)
    files.delete_volume(importing.volume(wanted()))
    assert [path for path in directory.iterdir() if path.is_file() and path.name[0] != "."] == []


# --- static imports


def test_a_static_volume_keeps_its_name_can_be_used_and_is_never_deleted(
    importing: Importing, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted(static=True))
    attachment = files.connect(volume, makers.attachment(volume))
    data: Any = attachment.connection_info["data"]
    assert data["device_path"] == str(directory / "disk.img")
    files.disconnect(attachment)
    grown = files.extend_volume(store.get(Volume, volume.id), GiB(2))
    assert (directory / "disk.img").stat().st_size == 2 * BYTES_PER_GIB
    copy = files.create_volume(makers.volume("files", size=2, source=grown))
    assert content_of(directory / f"volume-{copy.id}") == "disk.img"
    files.delete_volume(copy)
    files.delete_volume(store.get(Volume, volume.id))
    assert store.page(Volume).records == ()
    assert content_of(directory / "disk.img") == "disk.img"


def test_an_undone_static_import_removes_only_the_record(
    importing: Importing, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    importing.volume(wanted(static=True))
    assert importing.undo(Volume, origin()).name == "disk.img"
    assert store.page(Volume).records == ()


def test_only_drivers_that_find_volumes_by_name_use_them_without_managing_them(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make("array", driver="tests.support.fakes.existing.ArrayWithVolumes")
    importing = Importing(store, Backends([backend]), KeyedLocks())
    with pytest.raises(Unsupported, match="finds volumes only by names or ids that it assigns itself"):
        importing.volume(ImportVolume(origin=Origin(backend="array", name="lun1", static=True)))


# --- refusals: nothing is changed


@pytest.fixture
def unchanged(directory: Path, store: ObservedStore) -> Iterator[None]:
    yield
    assert store.page(Volume).records == ()
    assert (directory / "disk.img").exists()


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (wanted("missing"), BackendError, "missing is not a regular file"),
        (wanted("../disk.img"), BackendError, "must be the name of a file in the pool"),
        (wanted(""), InvalidRequest, "name: must not be empty"),
        (wanted(size=GiB(2)), OutOfRange, "has 1 GiB, but 2 GiB were expected"),
        (wanted(pool="two"), InvalidRequest, "unknown pool 'two'; pools of back end 'files': one"),
        (wanted(fs_type="zfs"), InvalidRequest, "unsupported file system 'zfs'"),
        (ImportVolume(origin=Origin(backend="other", name="a")), BackendUnavailable, "no longer configured"),
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_an_import_that_cannot_be_is_refused_with_the_reason(
    importing: Importing, add: Add, request_: ImportVolume, error: type[DriverError], message: str
) -> None:
    add("disk.img")
    with pytest.raises(error, match=message):
        importing.volume(request_)


@pytest.mark.usefixtures("unchanged")
def test_a_file_that_another_process_has_open_is_refused(importing: Importing, add: Add) -> None:
    with add("disk.img").open("rb"), pytest.raises(InUse, match="in use: open in another process on this host"):
        importing.volume(wanted())


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.usefixtures("unchanged")
def test_a_size_that_is_not_whole_gib_is_refused_with_the_exact_size(
    importing: Importing, add: Add, directory: Path, static: bool
) -> None:
    add("disk.img", BYTES_PER_GIB + 512)
    with pytest.raises(InvalidRequest, match=f"has {BYTES_PER_GIB + 512} bytes, which is not whole GiB"):
        importing.volume(wanted(static=static))
    assert (directory / "disk.img").stat().st_size == BYTES_PER_GIB + 512


def test_a_size_that_is_not_whole_gib_is_extended_on_request(importing: Importing, add: Add, directory: Path) -> None:
    add("disk.img", BYTES_PER_GIB + 512)
    volume = importing.volume(wanted(round_up=True))
    assert volume.size == 2
    assert (directory / f"volume-{volume.id}").stat().st_size == 2 * BYTES_PER_GIB


def test_an_object_with_a_record_is_refused(importing: Importing, files: LocalBackend, add: Add) -> None:
    add("disk.img")
    created = files.create_volume(makers.volume("files"))
    imported = importing.volume(wanted())
    add("other.img")
    static = importing.volume(wanted("other.img", static=True))
    for record in (created, imported):
        with pytest.raises(AlreadyExists, match=f"it is volume '{record.id}'"):
            importing.volume(wanted(f"volume-{record.id}"))
    with pytest.raises(AlreadyExists, match=f"it was imported as {static.id}: it is static"):
        importing.volume(wanted("other.img"))
    with pytest.raises(AlreadyExists, match="it has other access modes"):
        importing.volume(wanted(block=True))
    with pytest.raises(AlreadyExists, match="its size is 1 GiB, but 5 GiB were expected"):
        importing.volume(wanted(size=GiB(5)))
    files.delete_volume(created)


def test_a_volume_of_another_back_end_in_the_same_directory_is_refused(
    make: MakeBackend, files: LocalBackend, backends: Backends, importing: Importing, directory: Path
) -> None:
    created = files.create_volume(makers.volume("files"))
    backends.add(make("again", driver=LOOP_FILE, loopfile_directories=[f"one:{directory}"]))
    with pytest.raises(AlreadyExists, match=f"it is volume '{created.id}'"):
        importing.volume(ImportVolume(origin=Origin(backend="again", name=f"volume-{created.id}")))
    files.delete_volume(created)


def test_a_driver_that_cannot_import_is_named(make: MakeBackend, store: ObservedStore) -> None:
    importing = Importing(store, Backends([make("nothing")]), KeyedLocks())
    with pytest.raises(Unsupported, match="the driver of back end 'nothing' cannot import existing volumes"):
        importing.volume(ImportVolume(origin=Origin(backend="nothing", name="lun1")))
    with pytest.raises(Unsupported, match="the driver of back end 'nothing' cannot list existing volumes"):
        importing.candidates("nothing")


def test_what_was_not_imported_or_is_in_use_is_not_given_up(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add
) -> None:
    with pytest.raises(NotFound, match=r"volume 'disk\.img' was not imported from back end 'files'"):
        importing.undo(Volume, origin())
    add("disk.img")
    volume = importing.volume(wanted())
    attachment = files.connect(volume, makers.attachment(volume))
    for dry_run in (True, False):  # a dry run precedes the removal of the claim
        with pytest.raises(InUse, match="is attached to"):
            importing.undo(Volume, origin(), dry_run=dry_run)
    files.disconnect(attachment)
    snapshot = files.create_snapshot(makers.snapshot(volume))
    for dry_run in (True, False):
        with pytest.raises(InUse, match="has snapshots; delete them first"):
            importing.undo(Volume, origin(), dry_run=dry_run)
    assert store.get(Volume, volume.id).status is Status.AVAILABLE
    files.delete_snapshot(snapshot)
    importing.undo(Volume, origin())


# --- sectors


def _sectors(files: LocalBackend, volume: Volume) -> Any:
    attachment = files.connect(volume, makers.attachment(volume))
    data: Any = attachment.connection_info["data"]
    files.disconnect(attachment)
    return data["block_size"]


@pytest.mark.parametrize("static", [False, True])
def test_the_sectors_of_a_file_are_decided_at_its_import_and_inherited_by_its_copies(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add, directory: Path, static: bool
) -> None:
    table = b"\0" * 450 + b"\x83" + b"\0" * 59 + b"\x55\xaa"  # of a hypervisor, for sectors of 512 bytes
    add("plain.img")
    path = add("disk.img")
    with path.open("r+b") as file:
        file.seek(10)
        file.write(table[10:])
    plain, volume = importing.volume(wanted("plain.img", static=static)), importing.volume(wanted(static=static))
    assert (_sectors(files, plain), _sectors(files, volume)) == (4096, 512)
    with (directory / ("plain.img" if static else f"volume-{plain.id}")).open("r+b") as file:
        file.seek(10)
        file.write(table[10:])  # by its user
    assert _sectors(files, store.get(Volume, plain.id)) == 4096
    clone = files.create_volume(makers.volume("files", source=store.get(Volume, volume.id)))
    snapshot = files.create_snapshot(makers.snapshot(store.get(Volume, volume.id)))
    restored = files.create_volume(makers.volume("files", source=snapshot))
    assert (_sectors(files, clone), _sectors(files, restored)) == (512, 512)
    for copy in (clone, restored):
        files.delete_volume(store.get(Volume, copy.id))
    files.delete_snapshot(snapshot)


def test_the_option_for_sectors_applies_to_volumes_that_are_created_with_it(
    make: MakeBackend, directory: Path, store: ObservedStore
) -> None:
    options = {"loopfile_directories": [f"one:{directory}"], "max_over_subscription_ratio": 1000}
    before = make("before", driver=LOOP_FILE, **options)
    small = make("small", driver=LOOP_FILE, loopfile_block_size=512, **options)
    old, new = before.create_volume(makers.volume("before")), small.create_volume(makers.volume("small"))
    assert (_sectors(before, old), _sectors(small, new)) == (4096, 512)
    moved = store.replace(replace(store.get(Volume, old.id), backend="small"))
    assert _sectors(small, moved) == 4096
