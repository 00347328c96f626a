"""VolumeImport objects: Ready while the volume and its PersistentVolume exist, and ended with the volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.app import imported_claims
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import NotFound, PreconditionFailed
from csi_cinderlib.lifecycle import given_up, leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import KeyValue, Status, Volume
from csi_cinderlib.persistence.kubernetes.rest import ApiError
from csi_cinderlib.provisioning import locking
from csi_cinderlib.provisioning.imports import Importing, Origin
from tests.support.existing_files import LOOP_FILE, Add, origin, wanted
from tests.support.fakes.import_objects import Api, Objects
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, failing

READY = ("True", "Imported", "the volume is imported and has its PersistentVolume")


@pytest.fixture
def locks() -> KeyedLocks:
    return KeyedLocks()


@pytest.fixture
def importing(store: ObservedStore, backends: Backends, locks: KeyedLocks) -> Importing:
    return Importing(store, backends, locks)


@pytest.fixture
def objects(importing: Importing) -> Objects:
    return Objects(importing)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file() and path.name[0] != ".")


# --- Ready


@pytest.mark.parametrize("spec", [{}, {"storageClassName": ""}, {"storageClassName": "fast"}], ids=str)
def test_an_object_stays_ready_without_a_class_and_with_one(objects: Objects, add: Add, spec: dict[str, str]) -> None:
    add("disk.img")
    objects.create("db", **spec)
    for _ in range(3):
        objects.look()
        assert objects.ready("db") == READY
    assert len(objects.volumes()) == 1


def test_an_object_without_a_status_after_its_volume_was_made_becomes_ready(objects: Objects, add: Add) -> None:
    """As after a kill before the status is written."""
    add("disk.img")
    objects.create("db")
    objects.look()
    for item in objects.api.objects.values():
        item.pop("status", None)
    objects.look()
    assert (objects.ready("db"), len(objects.volumes())) == (READY, 1)


def test_an_object_stays_ready_whatever_the_back_end_does(
    objects: Objects, add: Add, files: LocalBackend, backends: Backends, store: ObservedStore, locks: KeyedLocks
) -> None:
    add("disk.img")
    objects.create("db")
    objects.look()
    (volume,) = store.page(Volume).records
    with locks.hold(shared=[locking.volume(volume.id)]):
        objects.look()
        assert objects.ready("db") == READY
    with locks.hold(locking.imports("files")):
        objects.look()
        assert objects.ready("db") == READY
    files.intake.set(paused=True, drained=False)
    files.apply(replace(files.settings, topology={"zone": "one"}))
    failing(files.driver, "manage_existing_get_size", AWAY)
    objects.look()
    backends.remove("files")
    objects.look()
    assert objects.ready("db") == READY


def test_what_an_administrator_changes_in_the_volume_leaves_the_object_ready(objects: Objects, add: Add) -> None:
    add("disk.img")
    objects.create("db", reclaimPolicy="Delete")
    objects.look()
    (volume,) = objects.volumes()
    volume["spec"].update(persistentVolumeReclaimPolicy="Retain", storageClassName="other")
    objects.look()
    assert objects.ready("db") == READY


def test_a_lost_persistent_volume_is_made_again(objects: Objects, add: Add) -> None:
    add("disk.img")
    objects.create("db")
    objects.look()
    objects.remove_volumes()
    objects.look()
    assert (objects.ready("db"), len(objects.volumes())) == (READY, 1)


def test_a_back_end_that_is_away_refuses_no_import(objects: Objects, add: Add, files: LocalBackend) -> None:
    add("disk.img")
    works = files.driver.manage_existing_get_size
    failing(files.driver, "manage_existing_get_size", AWAY)
    objects.create("db")
    objects.look()
    condition = objects.ready("db")
    assert condition is not None
    assert condition[:2] == ("Unknown", "Waiting")
    files.driver.manage_existing_get_size = works
    objects.look()
    assert objects.ready("db") == READY


# --- the end


@pytest.mark.parametrize("keeps_status", [True, False])
def test_the_deletion_of_its_volume_ends_an_object(
    objects: Objects, add: Add, directory: Path, files: LocalBackend, store: ObservedStore, keeps_status: bool
) -> None:
    with (directory / "disk.img").open("wb") as file:
        file.truncate(1 << 30)
    objects.create("db", reclaimPolicy="Delete")
    objects.look()
    (volume,) = store.page(Volume).records
    files.delete_volume(volume)
    objects.remove_volumes()
    if not keeps_status:  # killed before the status was written
        for item in objects.api.objects.values():
            item.pop("status", None)
    add("disk.img")
    for _ in range(2):
        objects.look()
        condition = objects.ready("db")
        assert condition is not None
        assert condition[:2] == ("False", "Deleted")
    assert (objects.volumes(), names(directory)) == ([], ["disk.img"])
    objects.delete("db")
    objects.look()
    assert (objects.ready("db"), names(directory)) == (None, ["disk.img"])


def test_an_undo_by_command_ends_the_object(objects: Objects, add: Add, importing: Importing, directory: Path) -> None:
    add("disk.img")
    objects.create("db")
    objects.look()
    importing.undo(Volume, origin())
    objects.look()
    condition = objects.ready("db")
    assert condition is not None
    assert (condition[1], names(directory)) == ("Deleted", ["disk.img"])


def test_a_failed_import_does_not_end_the_object(objects: Objects, add: Add, files: LocalBackend) -> None:
    add("disk.img")
    works = files.driver.manage_existing
    failing(files.driver, "manage_existing", RuntimeError("no"))
    objects.create("db")
    objects.look()
    condition = objects.ready("db")
    assert condition is not None
    assert condition[1] == "Refused"
    files.driver.manage_existing = works
    objects.look()
    assert objects.ready("db") == READY


def test_a_volume_that_nothing_may_use_gets_no_persistent_volume(
    objects: Objects, add: Add, store: ObservedStore
) -> None:
    """As after `orphans restored`, which was told of an import that had not ended."""
    add("disk.img")
    objects.create("db")
    objects.look()
    (record,) = store.page(Volume).records
    store.replace(replace(record, status=Status.ERROR, name_taken=leftovers.RESTORED))
    objects.remove_volumes()
    objects.look()
    condition = objects.ready("db")
    assert condition is not None
    assert condition[:2] == ("False", "Refused")
    assert objects.volumes() == []


# --- owners


def test_a_second_pool_leaves_an_object_without_a_pool_as_it_is(
    make: MakeBackend, store: ObservedStore, tmp_path: Path
) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        with (tmp_path / name / "disk.img").open("wb") as file:
            file.truncate(1 << 30)

    def with_pools(*pools: str) -> LocalBackend:
        directories = [f"{pool}:{tmp_path / pool}" for pool in pools]
        return make("files", driver=LOOP_FILE, loopfile_directories=directories, max_over_subscription_ratio=1000)

    backends = Backends([with_pools("a")])
    objects = Objects(Importing(store, backends, KeyedLocks()))
    objects.create("first")
    objects.look()
    backends.add(with_pools("a", "b"))
    objects.create("second", pool="b", claim={"namespace": "apps", "name": "other"})
    objects.look()
    assert (objects.ready("first"), objects.ready("second")) == (READY, READY)
    objects.delete("first")
    objects.look()
    assert (objects.ready("first"), names(tmp_path / "a")) == (None, ["disk.img"])
    assert names(tmp_path / "b") != ["disk.img"]


def test_an_object_that_is_applied_again_follows_the_one_that_is_gone(
    objects: Objects, add: Add, store: ObservedStore, directory: Path
) -> None:
    add("disk.img")
    objects.create("db")
    objects.look()
    (volume,) = store.page(Volume).records
    objects.create("other")
    objects.look()
    condition = objects.ready("other")
    assert condition is not None
    assert "which must give it up first" in condition[2]
    objects.lose("db")
    objects.look()
    condition = objects.ready("other")
    assert condition is not None
    assert condition[1] == "Refused", "it has another name"
    objects.delete("other")
    objects.create("db")
    objects.look()
    assert (objects.ready("db"), store.page(Volume).records[0].id) == (READY, volume.id)
    objects.delete("db")
    objects.look()
    assert (objects.ready("db"), names(directory)) == (None, ["disk.img"])


# --- ids


def test_a_restored_store_does_not_use_an_id_again(importing: Importing, add: Add, store: ObservedStore) -> None:
    add("disk.img")
    first = importing.volume(wanted())
    importing.undo(Volume, origin())
    for note in store.page(KeyValue).records:
        store.remove(note)
    assert importing.volume(wanted()).id != first.id


def test_an_undo_lists_no_id_of_another_pool_and_of_no_volume_that_exists(
    importing: Importing, add: Add, store: ObservedStore
) -> None:
    add("disk.img")
    volume = importing.volume(wanted())
    given_up.note(store, volume)  # the end of an import that was interrupted before its record was removed
    assert given_up.ids(store, Volume, "files", "disk.img", "one") == ()
    importing.undo(Volume, origin())
    undone = importing.undo(Volume, replace(origin(), within="one"))
    assert (undone.record, undone.ids) == (None, (volume.id,))
    with pytest.raises(NotFound, match="was not imported"):
        importing.undo(Volume, Origin(backend="files", name="disk.img", within="no such pool"))


def test_an_import_that_was_never_usable_leaves_no_note(importing: Importing, add: Add, store: ObservedStore) -> None:
    add("disk.img")
    volume: Any = replace(importing.volume(wanted()), status=Status.IMPORTING)
    given_up.note(store, volume)
    assert store.page(KeyValue).records == ()


# --- clusters


class Without(Api):
    """The cluster has no snapshots, or the account may not list them."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status

    def get(self, path: str, **_query: str) -> dict[str, Any]:
        raise ApiError(self._status, "NotFound" if self._status == 404 else "Forbidden", path)


def test_a_snapshot_is_given_up_in_a_cluster_without_snapshots() -> None:
    client: Any = Without(404)
    assert imported_claims.remove(client, ("VolumeSnapshotContent",), "csi", ["1"]) == imported_claims.Removed()
    client = Without(403)
    with pytest.raises(PreconditionFailed, match="remove those of the import yourself, and undo it with --manifests"):
        imported_claims.remove(client, ("VolumeSnapshotContent",), "csi", ["1"])
