"""Promises 25 and 41: what may stay on an array out of every record's reach is listed until an operator has looked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    NameTaken,
    NotFound,
    PreconditionFailed,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.model.records import EMPTY, KeyValue, Snapshot, Status, Volume
from csi_cinderlib.pages import ORPHAN_PAGE
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.orphans import Orphan, Orphans
from tests.component.provisioning.conftest import Site, snapshotting
from tests.support.fakes.array import SNAPSHOT, VOLUME, Array

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
NAME = "mysql-data"

Add = Callable[..., Any]


@pytest.fixture
def array(tmp_path: Path) -> Array:
    return Array(tmp_path / "array.log", by="an administrator")


@pytest.fixture
def add(empty_site: Site, array: Array, tmp_path: Path) -> Add:
    def array_backend(*traits: str, faults: list[str] | None = None, name: str = "") -> Any:
        file = str(tmp_path / "array.log")
        return empty_site.add_backend(name, driver=ARRAY, array_file=file, traits=list(traits), faults=faults or [])

    return array_backend


def settle(site: Site) -> None:
    for settled in Orphans(site.store, site.backends, site.locks, grace=timedelta(0)).settle():
        assert not settled.error, settled


def leave_unfinished(site: Site, volume: Volume) -> Volume:
    """As after a kill between the array's answer and the record."""
    provider = replace(volume.provider, location=None)
    return site.store.replace(
        replace(volume, status=Status.CREATING, owner="killed", provider=provider, metadata=EMPTY)
    )


def listed(site: Site) -> list[tuple[str, str, str]]:
    return [(orphan.kind, orphan.status, orphan.name) for orphan in site.orphans.find()]


# --- a name that is taken


@pytest.fixture(params=["exists", "duplicate"])
def taken(request: pytest.FixtureRequest, empty_site: Site, add: Add, array: Array) -> Site:
    """The array refuses the first creation because of an object of the administrator's."""
    add(faults=[f"create_volume:1={request.param}", f"create_snapshot:1={request.param}"])
    array.create(VOLUME, f"volume-{empty_site.ids.volume_id(NAME)}", 7)
    with pytest.raises(NameTaken, match=f"not created by this driver and is left untouched.*; see {ORPHAN_PAGE}"):
        empty_site.create(NAME)
    return empty_site


def orphan(site: Site) -> Orphan:
    (found,) = site.orphans.find()
    return found


def test_a_taken_name_is_listed_with_what_to_look_for(taken: Site) -> None:
    found = orphan(taken)
    assert (found.kind, found.status, found.due) == ("volume", "error", False)
    assert f"look for volume-{taken.ids.volume_id(NAME)} on the back end: not created by this driver" in found.reason


def test_nothing_deletes_what_has_a_taken_name(taken: Site, array: Array) -> None:
    settle(taken)
    taken.volumes.delete(taken.ids.volume_id(NAME))
    taken.volumes.delete(taken.ids.volume_id(NAME))
    assert [lun.size for lun in array.luns()] == [7]
    assert taken.store.page(Volume).records == ()
    assert listed(taken) == [("volume", "leftover", f"volume-{taken.ids.volume_id(NAME)}")]


def test_the_retry_does_not_delete_before_it_creates(empty_site: Site, add: Add, array: Array) -> None:
    driver = add("unique-names")
    id = array.create(VOLUME, f"volume-{empty_site.ids.volume_id(NAME)}", 7)
    for _ in range(3):
        with pytest.raises(NameTaken):
            empty_site.create(NAME)
    array.delete(id)
    volume = empty_site.create(NAME)
    assert (volume.status, volume.name_taken, driver.calls["delete_volume"]) == (Status.AVAILABLE, "", 0)
    assert listed(empty_site) == []
    empty_site.volumes.delete(volume.id)
    assert array.luns() == []


def test_another_failure_of_the_retry_deletes_nothing_either(empty_site: Site, add: Add, array: Array) -> None:
    add("unique-names", faults=["create_volume:2=timed-out"])
    array.create(VOLUME, f"volume-{empty_site.ids.volume_id(NAME)}", 7)
    with pytest.raises(NameTaken):
        empty_site.create(NAME)
    with pytest.raises(BackendUnavailable, match="timed out"):
        empty_site.create(NAME)
    with pytest.raises(NameTaken):
        empty_site.create(NAME)
    assert array.events("delete") == []


def test_a_taken_name_is_not_tried_on_another_back_end(empty_site: Site, add: Add, array: Array) -> None:
    drivers = [add("unique-names") for _ in range(2)]
    array.create(VOLUME, f"volume-{empty_site.ids.volume_id(NAME)}", 7)
    with pytest.raises(NameTaken):
        empty_site.create(NAME)
    assert sorted(driver.calls["create_volume"] for driver in drivers) == [0, 1]


def test_a_snapshots_name_may_be_taken_too(empty_site: Site, add: Add, array: Array) -> None:
    driver = add("unique-names")
    volume = empty_site.create()
    id = empty_site.ids.snapshot_id("snap-1")
    array.create(SNAPSHOT, f"snapshot-{id}", 7, parent=array.luns()[0].id)
    with pytest.raises(NameTaken):
        empty_site.snapshots.create(snapshotting(volume))
    assert [(kind, status) for kind, status, _ in listed(empty_site)] == [("snapshot", "error")]
    settle(empty_site)
    empty_site.snapshots.delete(id)
    assert (empty_site.store.page(Snapshot).records, driver.calls["delete_snapshot"]) == ((), 0)
    assert listed(empty_site) == [("snapshot", "leftover", f"snapshot-{id}")]


# --- an id that was lost


IDS = ["assigned-ids", "ids-in-metadata"]


@pytest.fixture(params=IDS)
def lost(request: pytest.FixtureRequest, empty_site: Site, add: Add) -> Volume:
    """A volume whose assigned id was lost."""
    add(request.param, name="array")
    return leave_unfinished(empty_site, empty_site.create(NAME))


def test_a_deletion_that_the_driver_could_not_look_up_leaves_a_note(
    empty_site: Site, lost: Volume, array: Array
) -> None:
    empty_site.volumes.delete(lost.id)
    assert empty_site.store.page(Volume).records == ()
    (lun,) = array.luns()
    assert listed(empty_site) == [("volume", "leftover", lun.name)]
    assert (orphan(empty_site).backend, orphan(empty_site).due) == ("array", False)
    assert "creation was interrupted" in orphan(empty_site).reason


def test_the_retry_creates_again_and_says_which_one_to_keep(empty_site: Site, lost: Volume, array: Array) -> None:
    volume = empty_site.create(NAME)
    assert len(array.luns()) == 2
    known = (
        f"known to the array as {volume.provider.location}" if volume.provider.location else "which has the same name"
    )
    assert f"KEEP the one in use, {known}" in orphan(empty_site).reason


def test_repeated_attempts_leave_one_note(empty_site: Site, lost: Volume) -> None:
    for _ in range(2):
        leave_unfinished(empty_site, empty_site.create(NAME))
    assert [status for _, status, _ in listed(empty_site)] == ["creating", "leftover"]


def test_a_creation_that_failed_after_its_effect_leaves_a_note(empty_site: Site, add: Add, array: Array) -> None:
    add("assigned-ids", faults=["create_volume:1@after=timed-out"])
    with pytest.raises(BackendError):
        empty_site.create(NAME)
    assert listed(empty_site) == [("volume", "leftover", array.luns()[0].name)]


def test_a_driver_that_does_not_find_it_has_not_looked(empty_site: Site, add: Add, array: Array) -> None:
    add("assigned-ids", "refuses-unknown")
    lost = leave_unfinished(empty_site, empty_site.create(NAME))
    empty_site.volumes.delete(lost.id)
    assert listed(empty_site) == [("volume", "leftover", array.luns()[0].name)]


@pytest.mark.parametrize("traits", [(), ("unique-names", "refuses-unknown")], ids=",".join)
def test_where_the_name_is_enough_nothing_is_noted(
    empty_site: Site, add: Add, array: Array, traits: tuple[str]
) -> None:
    add(*traits)
    volume = leave_unfinished(empty_site, empty_site.create(NAME))
    empty_site.volumes.delete(volume.id)
    assert (array.luns(), listed(empty_site)) == ([], [])


@pytest.mark.parametrize("ids", IDS)
def test_a_finished_volume_is_deleted_without_a_note(empty_site: Site, add: Add, array: Array, ids: str) -> None:
    add(ids)
    volume = empty_site.create(NAME)
    empty_site.snapshots.delete(empty_site.snapshots.create(snapshotting(volume)).id)
    empty_site.volumes.delete(volume.id)
    assert (array.luns(), listed(empty_site)) == ([], [])


def test_a_lost_snapshot_of_an_array_that_keeps_ids_in_metadata_leaves_a_note(
    empty_site: Site, add: Add, array: Array
) -> None:
    add("ids-in-metadata")
    snapshot = empty_site.snapshots.create(snapshotting(empty_site.create(NAME)))
    empty_site.store.replace(replace(snapshot, status=Status.CREATING, owner="killed", metadata=EMPTY))
    empty_site.snapshots.delete(snapshot.id)
    assert listed(empty_site) == [("snapshot", "leftover", f"snapshot-{snapshot.id}")]


def test_a_record_whose_leftover_cannot_be_noted_stays(
    empty_site: Site, lost: Volume, array: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = empty_site.store.add

    def refuse(record: Any) -> Any:
        if isinstance(record, KeyValue):
            raise StoreUnavailable("the disk is full")
        return add(record)

    monkeypatch.setattr(empty_site.store, "add", refuse)
    with pytest.raises(StoreUnavailable):
        empty_site.create(NAME)
    assert len(array.luns()) == 1, "nothing is created before the leftover is noted"
    with pytest.raises(StoreUnavailable):
        empty_site.volumes.delete(lost.id)
    monkeypatch.undo()
    assert empty_site.store.get(Volume, lost.id).unfinished
    empty_site.volumes.delete(lost.id)
    assert [status for _, status, _ in listed(empty_site)] == ["leftover"]


# --- the operator has looked


def test_what_was_looked_at_is_forgotten(empty_site: Site, lost: Volume) -> None:
    empty_site.volumes.delete(lost.id)
    assert empty_site.orphans.forget(lost.id) == (f"volume volume-{lost.id} on back end 'array'",)
    assert listed(empty_site) == []
    with pytest.raises(NotFound):
        empty_site.orphans.forget(lost.id)


def test_a_record_in_error_is_forgotten(taken: Site, array: Array) -> None:
    id = taken.ids.volume_id(NAME)
    (said,) = taken.orphans.forget(id)
    assert said.startswith(f"the record of volume {id!r}")
    assert (listed(taken), taken.store.page(Volume).records, len(array.luns())) == ([], (), 1)


@pytest.mark.parametrize("status", [Status.AVAILABLE, Status.CREATING, Status.DELETING, Status.EXTENDING])
def test_what_did_not_fail_is_not_forgotten(empty_site: Site, add: Add, status: Status) -> None:
    add()
    volume = empty_site.store.replace(replace(empty_site.create(), status=status))
    with pytest.raises(PreconditionFailed, match=f"its status is {status}; it must be error"):
        empty_site.orphans.forget(volume.id)
    assert empty_site.store.get(Volume, volume.id) == volume


def test_the_leftover_beside_a_volume_in_use_is_forgotten_alone(empty_site: Site, lost: Volume) -> None:
    volume = empty_site.create(NAME)
    empty_site.orphans.forget(volume.id)
    assert (listed(empty_site), empty_site.store.get(Volume, volume.id)) == ([], volume)


def test_a_note_that_cannot_be_read_is_listed() -> None:
    store = MemoryStore()
    store.add(KeyValue(id="csi-cinderlib.later", value="x"))
    store.add(KeyValue(id=f"{leftovers.PREFIX}one", value="[]"))
    assert list(leftovers.walk(store)) == [(f"{leftovers.PREFIX}one", None)]
