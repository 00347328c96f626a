"""Static volumes that their owner changes: extended, replaced, or gone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import BackendUnavailable, PreconditionFailed, StoreUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB, GiB
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from tests.support.existing_files import content_of, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, failing


@pytest.fixture
def images(make: MakeBackend) -> LocalBackend:
    back = make("array", driver="tests.support.fakes.existing.RBDDriver")
    back.driver.images = {"web": 2}
    return back


@pytest.fixture
def web(images: LocalBackend, store: ObservedStore) -> Volume:
    """A static volume of 2 GiB."""
    importing = Importing(store, Backends([images]), KeyedLocks())
    return importing.volume(ImportVolume(origin=Origin(backend="array", name="web", static=True)))


def put(path: Path, text: str) -> None:
    with path.open("wb") as file:
        file.write(text.encode())
        file.truncate(BYTES_PER_GIB)


# --- names


@pytest.mark.parametrize("name", ["my_data", "Data"])
def test_a_logical_volume_whose_name_cannot_be_exported_is_not_used_under_it(
    images: LocalBackend, store: ObservedStore, name: str
) -> None:
    images.driver.vg, images.driver.images = SimpleNamespace(vg_thin_pool=""), {name: 2}
    importing = Importing(store, Backends([images]), KeyedLocks())
    lun = Origin(backend="array", name=name, static=True)
    with pytest.raises(PreconditionFailed, match="its name cannot be part of an IQN"):
        importing.volume(ImportVolume(origin=lun))
    assert importing.volume(ImportVolume(origin=replace(lun, static=False))).status is Status.AVAILABLE


# --- extended by its owner


@pytest.mark.parametrize(("real", "left"), [(2, 5), (5, 5), (9, 9)])
def test_an_expansion_never_makes_a_volume_smaller_that_its_owner_has_extended(
    images: LocalBackend, web: Volume, real: int, left: int
) -> None:
    images.driver.images["web"] = real
    assert images.extend_volume(web, GiB(5)).size == left
    assert images.driver.images == {"web": left}


def test_a_copy_of_a_volume_that_its_owner_has_extended_is_whole(
    images: LocalBackend, store: ObservedStore, web: Volume
) -> None:
    images.driver.images["web"] = 9
    for use in (
        lambda: images.create_volume(makers.volume("array", size=4, source=web)),
        lambda: images.create_snapshot(makers.snapshot(web)),
    ):
        with pytest.raises(PreconditionFailed, match=r"'web' has 9 GiB, but volume .* has 2 GiB.*at least 9 GiB first"):
            use()
    assert images.driver.images == {"web": 9}
    grown = images.extend_volume(store.get(Volume, web.id), GiB(9))
    copy = images.create_volume(makers.volume("array", size=9, source=grown))
    assert images.driver.images == {"web": 9, f"volume-{copy.id}": 9}


def test_a_volume_whose_size_is_not_known_is_not_extended(
    images: LocalBackend, store: ObservedStore, web: Volume
) -> None:
    def fail(*_arguments: object) -> int:
        raise RuntimeError("the cluster is busy")

    images.driver.manage_existing_get_size = fail
    with pytest.raises(Exception, match="the cluster is busy"):
        images.extend_volume(web, GiB(5))
    assert (images.driver.images, store.get(Volume, web.id).status) == ({"web": 2}, Status.AVAILABLE)


# --- given up


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("end", ["undo", "deletion"])
def test_the_next_owner_inherits_no_export(images: LocalBackend, store: ObservedStore, static: bool, end: str) -> None:
    """Its removal failed when the last node let go of the volume."""
    importing = Importing(store, Backends([images]), KeyedLocks())
    lun = Origin(backend="array", name="web", static=static)
    volume = importing.volume(ImportVolume(origin=lun))
    attachment = images.connect(volume, makers.attachment(volume))
    works = images.driver.remove_export
    failing(images.driver, "remove_export", RuntimeError("busy"))
    images.disconnect(attachment)
    images.driver.remove_export = works
    assert images.driver.exports == {volume.id}
    if end == "undo":
        assert importing.undo(Volume, lun).name == "web"
    else:
        images.delete_volume(store.get(Volume, volume.id))
    assert images.driver.exports == set()


@pytest.mark.parametrize("interruption", ["before the import", "after the undo", "none"])
def test_a_snapshot_whose_driver_finds_only_its_present_name_is_given_up(
    images: LocalBackend, store: ObservedStore, web: Volume, interruption: str
) -> None:
    """As rbd.py, which protects what it manages."""
    images.driver.protected = {"daily": False}
    importing = Importing(store, Backends([images]), KeyedLocks())
    daily = Origin(backend="array", name="daily")
    if interruption == "before the import":
        failing(images.driver, "manage_existing_snapshot", AWAY)
        with pytest.raises(BackendUnavailable):
            importing.snapshot(daily, web.id)
    else:
        importing.snapshot(daily, web.id)
    if interruption == "after the undo":
        works = store.remove
        failing(store, "remove", StoreUnavailable("away"))
        with pytest.raises(StoreUnavailable):
            importing.undo(Snapshot, daily)
        setattr(store, "remove", works)  # noqa: B010  # mypy: a method
    assert importing.undo(Snapshot, daily).name == "daily"
    assert (images.driver.protected, store.page(Snapshot).records) == ({"daily": False}, ())


# --- replaced by its owner


def test_a_snapshot_is_restored_whatever_became_of_its_volume(
    files: LocalBackend, store: ObservedStore, importing: Importing, directory: Path
) -> None:
    put(directory / "disk.img", "one")
    volume = importing.volume(wanted(static=True))
    snapshot = files.create_snapshot(makers.snapshot(volume))
    (directory / "disk.img").rename(directory / "aside")
    put(directory / "disk.img", "of another owner")
    request = replace(makers.volume("files", source=snapshot), size=GiB(1))
    before = files.create_volume(request)
    files.delete_volume(store.get(Volume, volume.id))
    after = files.create_volume(replace(makers.volume("files", source=snapshot), size=GiB(1)))
    assert [content_of(directory / f"volume-{copy.id}") for copy in (before, after)] == ["one", "one"]
    files.delete_snapshot(store.get(Snapshot, snapshot.id))
