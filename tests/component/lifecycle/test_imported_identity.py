"""The identity of an imported object: no name, id or pool may mean the object of another owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, DriverError, InUse, InvalidRequest, PreconditionFailed
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB, GiB
from csi_cinderlib.persistence.api import Page
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from tests.support.existing_files import LOOP_FILE, Add, content_of, origin, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

Put = Callable[[str, str], Path]


def importing_on(store: ObservedStore, *backends: LocalBackend) -> Importing:
    return Importing(store, Backends(backends), KeyedLocks())


@pytest.fixture
def two(make: MakeBackend, tmp_path: Path) -> LocalBackend:
    """A back end with the pools `a` and `b`."""
    for pool in ("a", "b"):
        (tmp_path / pool).mkdir()
    directories = [f"{pool}:{tmp_path / pool}" for pool in ("a", "b")]
    return make("files", driver=LOOP_FILE, loopfile_directories=directories, max_over_subscription_ratio=1000)


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def put(pool: str, name: str) -> Path:
        path = tmp_path / pool / name
        with path.open("wb") as file:
            file.write(pool.encode())
            file.truncate(BYTES_PER_GIB)
        return path

    return put


# --- pools


def test_a_static_volume_is_the_file_of_its_own_pool(two: LocalBackend, store: ObservedStore, put: Put) -> None:
    other, own = put("a", "disk.img"), put("b", "disk.img")
    volume = importing_on(store, two).volume(wanted(static=True, pool="b"))
    attachment = two.connect(volume, makers.attachment(volume))
    data: Any = attachment.connection_info["data"]
    assert data["path"] == str(own)
    two.disconnect(attachment)
    grown = two.extend_volume(store.get(Volume, volume.id), GiB(2))
    assert (other.stat().st_size, own.stat().st_size) == (BYTES_PER_GIB, 2 * BYTES_PER_GIB)
    copy = two.create_volume(makers.volume("files", size=2, pool="b", source=grown))
    assert content_of(own.with_name(f"volume-{copy.id}")) == "b"
    own.unlink()
    with pytest.raises(DriverError):
        two.connect(store.get(Volume, volume.id), makers.attachment(volume))


@pytest.mark.parametrize("static", [True, False])
def test_files_of_the_same_name_in_two_pools_are_two_volumes(
    two: LocalBackend, store: ObservedStore, put: Put, static: bool
) -> None:
    importing = importing_on(store, two)
    put("a", "disk.img")
    in_b = put("b", "disk.img")
    first = importing.volume(wanted(pool="a", static=static))
    with in_b.open("rb"), pytest.raises(InUse, match="open in another process"):
        importing.volume(wanted(pool="b", static=static))
    second = importing.volume(wanted(pool="b", static=static))
    assert (first.pool, second.pool, first.id == second.id) == ("a", "b", False)
    with pytest.raises(
        InvalidRequest, match=r"pool: must be named, since there are several imports of 'disk\.img': a, b"
    ):
        importing.undo(Volume, origin())
    undone = importing.undo(Volume, replace(origin(), within="b"))
    assert (undone.record and undone.record.id, in_b.exists()) == (second.id, True)


def test_use_of_a_file_in_one_pool_does_not_refuse_that_of_another(
    two: LocalBackend, store: ObservedStore, put: Put
) -> None:
    in_a = put("a", "disk.img")
    put("b", "disk.img")
    with in_a.open("rb"):
        assert importing_on(store, two).volume(wanted(pool="b")).pool == "b"


def test_two_back_ends_on_one_directory_do_not_both_import_a_file(
    make: MakeBackend, files: LocalBackend, store: ObservedStore, directory: Path, add: Add
) -> None:
    add("disk.img")
    again = make("again", driver=LOOP_FILE, loopfile_directories=[f"other:{directory}"])
    importing = importing_on(store, files, again)
    first = importing.volume(wanted(static=True))
    for static in (True, False):
        with pytest.raises(AlreadyExists, match=f"it is volume '{first.id}'"):
            importing.volume(ImportVolume(origin=Origin(backend="again", name="disk.img", static=static)))


@pytest.mark.parametrize("static", [True, False])
def test_an_import_gives_way_to_a_record_that_was_added_after_its_checks(
    files: LocalBackend, store: ObservedStore, add: Add, directory: Path, static: bool
) -> None:
    other = Volume(id="99999999-9999-4999-8999-999999999999", backend="files", size=GiB(1), status=Status.ADOPTING)
    add(f"volume-{other.id}")
    store.before["add"] = lambda _intent: MemoryStore.add(store, other)
    with pytest.raises(AlreadyExists, match=f"it is volume '{other.id}' \\(adopting\\)"):
        importing_on(store, files).volume(
            ImportVolume(origin=Origin(backend="files", name=f"volume-{other.id}", static=static))
        )
    assert [record.id for record in store.page(Volume).records] == [other.id]
    assert (directory / f"volume-{other.id}").exists()


# --- names and ids of arrays


@pytest.fixture
def listing(make: MakeBackend) -> LocalBackend:
    return make("array", driver="tests.support.fakes.arrays_with_luns.Listing")


@pytest.mark.parametrize(
    ("luns", "name", "by_id", "taken"),
    [
        (({"source-name": "7", "source-id": "12"}, {"source-name": "x", "source-id": "7"}), "7", True, {"source-name": "x", "source-id": "7"}),
        (({"source-name": "7", "source-id": "12"}, {"source-name": "x", "source-id": "7"}), "7", False, {"source-name": "7", "source-id": "12"}),
        (({"name": "7"},), "7", False, {"name": "7"}),
    ],
    ids=["an id", "a name", "another key for names"],
)  # fmt: skip
def test_a_name_never_means_an_id(
    listing: LocalBackend, store: ObservedStore, luns: Any, name: str, by_id: bool, taken: dict[str, str]
) -> None:
    listing.driver.luns = luns
    importing_on(store, listing).volume(ImportVolume(origin=Origin(backend="array", name=name, by_id=by_id)))
    assert listing.driver.taken == [taken]


@pytest.mark.parametrize("luns", [{"source-id": "7"}, {"name": "x"}], ids=["a list of ids", "another name"])
def test_a_volume_that_the_list_does_not_show_is_refused(
    listing: LocalBackend, store: ObservedStore, luns: dict[str, str]
) -> None:
    listing.driver.luns, listing.driver.takes_any = (luns,), True
    with pytest.raises(PreconditionFailed, match="volume '7' is not in the list of back end 'array'"):
        importing_on(store, listing).volume(ImportVolume(origin=Origin(backend="array", name="7", unchecked=True)))
    assert store.page(Volume).records == ()


def test_a_name_that_the_array_lists_twice_is_refused(listing: LocalBackend, store: ObservedStore) -> None:
    listing.driver.luns = ({"source-name": "x", "source-id": "1"}, {"source-name": "x", "source-id": "2"})
    listing.driver.takes_any = True
    with pytest.raises(PreconditionFailed, match=r"lists 2 volumes named 'x'; name it by its id \(--id\)"):
        importing_on(store, listing).volume(ImportVolume(origin=Origin(backend="array", name="x")))


def test_the_thin_pool_of_a_back_end_is_refused(listing: LocalBackend, store: ObservedStore) -> None:
    listing.driver.vg = SimpleNamespace(vg_thin_pool="vg-pool")
    listing.driver.luns = ({"source-name": "vg-pool"}, {"source-name": "data"})
    importing = importing_on(store, listing)
    problems = [item.problem for item in importing.candidates("array")]
    assert problems == ["it is the thin pool of this back end", ""]
    with pytest.raises(InUse, match="it is the thin pool of this back end"):
        importing.volume(ImportVolume(origin=Origin(backend="array", name="vg-pool")))


# --- snapshots


def test_a_snapshot_is_imported_only_for_the_volume_that_it_belongs_to(
    listing: LocalBackend, store: ObservedStore
) -> None:
    one, two = (listing.create_volume(makers.volume("array")) for _ in range(2))
    daily, importing = Origin(backend="array", name="daily"), importing_on(store, listing)
    listing.driver.snapshots_of = (("daily", "other"),)
    with pytest.raises(PreconditionFailed, match=f"is not a snapshot of volume '{one.id}': it is a snapshot of other"):
        importing.snapshot(daily, one.id)
    listing.driver.snapshots_of = ()
    with pytest.raises(PreconditionFailed, match="the driver does not list it as a snapshot of any volume"):
        importing.snapshot(daily, one.id)
    assert store.page(Snapshot).records == ()
    listing.driver.snapshots_of = (("daily", f"volume-{one.id}"), ("daily", f"volume-{two.id}"))
    first, second = importing.snapshot(daily, one.id), importing.snapshot(daily, two.id)
    assert (first.volume_id, second.volume_id) == (one.id, two.id)
    assert listing.driver.taken == [f"volume-{two.id}", {"source-name": "daily"}]
    assert importing.snapshot(daily, one.id) == first


def test_a_snapshot_belongs_to_its_volume_by_the_name_that_the_array_gave_it(
    listing: LocalBackend, store: ObservedStore
) -> None:
    one, two = (listing.create_volume(makers.volume("array")) for _ in range(2))
    daily, importing = Origin(backend="array", name="daily"), importing_on(store, listing)
    listing.driver.own_names = (("osv-1", one.id), ("osv-2", two.id))
    listing.driver.snapshots_of = (("daily", "osv-1"),)
    with pytest.raises(PreconditionFailed, match="it is a snapshot of osv-1"):
        importing.snapshot(daily, two.id)
    assert importing.snapshot(daily, one.id).volume_id == one.id


def test_a_snapshot_is_never_static(listing: LocalBackend, store: ObservedStore) -> None:
    volume = listing.create_volume(makers.volume("array"))
    with pytest.raises(InvalidRequest, match="only a volume can be used without managing it"):
        importing_on(store, listing).snapshot(Origin(backend="array", name="daily", static=True), volume.id)


# --- owners


def test_an_object_with_an_unreadable_record_has_an_owner(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add
) -> None:
    created = files.create_volume(makers.volume("files"))
    add("disk.img")
    works = store.page

    def page(kind: Any, **given: Any) -> Any:
        found: Page[Any] = works(kind, **given)
        bad = tuple(record.id for record in found.records if record.id == created.id and kind is Volume)
        return replace(found, records=tuple(one for one in found.records if one.id not in bad), corrupt=bad)

    store.page = page  # type: ignore[method-assign]
    problems = {item.reference["source-name"]: item.problem for item in importing.candidates("files")}
    assert all(f"it may be volume '{created.id}', whose record cannot be read" in text for text in problems.values())
    for name in (f"volume-{created.id}", "disk.img"):
        with pytest.raises(DriverError, match=created.id):
            importing.volume(wanted(name, static=True))
    store.page = works  # type: ignore[method-assign]
    files.delete_volume(created)


def test_an_import_belongs_to_its_requester(importing: Importing, add: Add) -> None:
    add("disk.img")
    first = replace(wanted(), origin=replace(origin(), requester="uid-1"))
    importing.volume(first)
    for requester in ("", "uid-2"):
        with pytest.raises(
            AlreadyExists, match="it belongs to the VolumeImport with uid uid-1, which must give it up first"
        ):
            importing.volume(replace(first, origin=replace(origin(), requester=requester)))
    with pytest.raises(DriverError, match="was not imported"):
        importing.undo(Volume, replace(origin(), requester="uid-2"), only_own=True)
    assert importing.undo(Volume, replace(origin(), requester="uid-1"), only_own=True).name == "disk.img"


def test_a_repeated_import_is_compared_with_the_request_not_with_the_present_state(
    importing: Importing, files: LocalBackend, store: ObservedStore, add: Add
) -> None:
    add("disk.img")
    volume = importing.volume(wanted(size=GiB(1), static=True))
    files.extend_volume(volume, GiB(2))
    assert importing.volume(wanted(size=GiB(1), static=True)).size == 2
    snapshot = files.create_snapshot(makers.snapshot(store.get(Volume, volume.id)))
    files.delete_volume(store.get(Volume, volume.id))
    assert store.get(Volume, volume.id).status is Status.DELETED
    again = importing.volume(wanted(static=True))
    assert (again.status, again.id == volume.id) == (Status.AVAILABLE, False)
    files.delete_snapshot(snapshot)
