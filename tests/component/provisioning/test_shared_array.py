"""Promise 25: what another installation, or an administrator, has on the same array is never deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import DriverError, NameTaken, NotFound
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Group, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence.plugins import open_store
from tests.component.provisioning.conftest import Site, snapshotting
from tests.support.fakes.array import SNAPSHOT, VOLUME, Array

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
GROUPS = "tests.support.fakes.group_array.GroupArrayDriver"
LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"
NAME = "mysql-data"

Install = Callable[..., Site]


@pytest.fixture
def array(tmp_path: Path) -> Array:
    return Array(tmp_path / "array.log", by="an administrator")


@pytest.fixture
def install(tmp_path: Path, runtime: Runtime, array: Array) -> Iterator[Install]:
    """One more installation on the array, with records of its own: `install("a", traits=..., faults=...)`."""
    sites: list[Site] = []

    def site(name: str, **options: Any) -> Site:
        state_dir = tmp_path / name
        state_dir.mkdir()
        made = Site(open_store("memory", {}, state_dir=state_dir), runtime)
        sites.append(made)
        # Cinder keeps the options of a back end by its name, so two in one process must differ in it.
        driver = options.pop("driver", ARRAY)
        made.add_backend(f"array-of-{name}", driver=driver, array_file=str(tmp_path / "array.log"), **options)
        return made

    yield site
    for made in sites:
        for backend in made.backends.all():
            backend.stop()
        made.store.close()


def names(array: Array) -> list[str]:
    return [lun.name for lun in array.luns()]


@pytest.mark.parametrize("attempts", [1, 2])
def test_two_installations_ask_for_a_volume_of_the_same_name(install: Install, array: Array, attempts: int) -> None:
    first, second = (install(name, traits=["unique-names", "refuses-unknown"]) for name in ("a", "b"))
    volume = first.create(NAME)
    for _ in range(attempts):
        with suppress(DriverError):
            second.create(NAME)
    assert f"volume-{volume.id}" in names(array)
    assert array.foreign_deletions() == []


def test_the_second_installation_gives_up(install: Install, array: Array) -> None:
    """The claim is deleted, or nobody asks again and the clean-up comes by."""
    first, second = (install(name, traits=["unique-names"]) for name in ("a", "b"))
    volume = first.create(NAME)
    with suppress(DriverError):
        second.create(NAME)
    with suppress(DriverError):
        second.volumes.delete(second.ids.volume_id(NAME))
    second.orphans.settle()
    assert f"volume-{volume.id}" in names(array)


@pytest.mark.parametrize("words", ["exists", "duplicate"])
def test_the_name_is_taken_by_an_object_of_the_administrator(install: Install, array: Array, words: str) -> None:
    site = install("a", faults=[f"create_volume={words}"])
    array.create(VOLUME, f"volume-{site.ids.volume_id(NAME)}", 1)
    with suppress(DriverError):
        site.create(NAME)
    assert names(array) == [f"volume-{site.ids.volume_id(NAME)}"]
    assert array.foreign_deletions() == []


def test_two_installations_take_a_snapshot_of_the_same_name(install: Install, array: Array) -> None:
    first, second = (install(name, traits=["unique-names"]) for name in ("a", "b"))
    first.snapshots.create(snapshotting(first.create("a")))
    volume = second.create("b")
    with suppress(DriverError):
        second.snapshots.create(snapshotting(volume))
    assert array.foreign_deletions() == []


def test_installations_on_an_array_that_assigns_ids_do_not_meet(install: Install, array: Array) -> None:
    sites = [install(name, traits=["assigned-ids"]) for name in ("a", "b")]
    volumes = [site.create(NAME) for site in sites]
    assert [volume.status for volume in volumes] == [Status.AVAILABLE] * 2
    assert len(names(array)) == 2
    for site, volume in zip(sites, volumes, strict=True):
        site.volumes.delete(volume.id)
        assert site.orphans.find() == ()
    assert names(array) == []
    assert array.foreign_deletions() == []


@pytest.fixture
def sharing(tmp_path: Path, runtime: Runtime) -> Iterator[tuple[Site, Site]]:
    """Two installations whose file driver has one directory; their ids are the same, as those of earlier versions were."""
    sites = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        site = Site(open_store("memory", {}, state_dir=tmp_path / name), runtime)
        options = {"loopfile_directories": [str(tmp_path / "files")]}
        settings = BackendSettings(name=f"files-of-{name}", driver=LOOPFILE, options=options)
        backend = LocalBackend(settings, store=site.store, runtime=runtime, owner=name)
        site.backends.add(backend)
        backend.start()
        sites.append(site)
    first, second = sites
    second.ids = first.ids
    yield first, second
    for site in sites:
        for one in site.backends.all():
            one.stop()
        site.store.close()


def test_two_installations_share_a_directory_of_the_file_driver(sharing: tuple[Site, Site], tmp_path: Path) -> None:
    """The second one asks twice, its claim is deleted, and the clean-up comes by."""
    first, second = sharing
    volume = first.create(NAME)
    file = tmp_path / "files" / f"volume-{volume.id}"
    with file.open("r+b") as opened:
        opened.write(b"of the first one")
    for _ in range(2):
        with pytest.raises(NameTaken, match=f"volume-{volume.id}"):
            second.create(NAME)
    second.volumes.delete(volume.id)
    second.orphans.settle()
    with file.open("rb") as opened:
        assert opened.read(16) == b"of the first one"
    assert first.store.get(Volume, volume.id).status is Status.AVAILABLE


@pytest.fixture
def both(install: Install) -> tuple[Site, Site]:
    """A store and an older copy of it, both in use: they ask the array for the same names. The volumes are in both."""
    first, second = (install(name, driver=GROUPS, traits=["unique-names"]) for name in ("a", "b"))
    second.ids = first.ids
    for name in "ab":
        volume = first.create(name)
        second.store.add(replace(volume, backend="array-of-b"))
    return first, second


def take(site: Site) -> Any:
    return site.groups.create("together", [record.id for record in site.store.page(Volume).records], {})


def records_of_groups(site: Site) -> list[object]:
    store = site.store
    return [*store.page(GroupSnapshot).records, *store.page(Group).records, *store.page(Snapshot).records]


@pytest.mark.parametrize("taken", ["group", "members"])
def test_two_installations_take_a_group_snapshot_of_the_same_name(
    both: tuple[Site, Site], array: Array, taken: str
) -> None:
    first, second = both
    record = take(first).record
    if taken == "members":  # an array that does not know groups by name, or one whose administrator removed the group
        (group,) = array.luns("group")
        array.delete(group.id)
    before = {lun.name for lun in array.luns(SNAPSHOT)}
    with pytest.raises(NameTaken, match="not created by this driver and is left untouched"):
        take(second)
    left = second.store.get(GroupSnapshot, record.id)
    assert (left.status, left.owner) == (Status.ERROR, "")
    (found,) = second.orphans.find()
    assert (found.kind, found.due) == ("group snapshot", False)
    named = [*(f"snapshot-{id}" for id in left.snapshot_ids), f"group {left.group_id}"]
    assert f"look for {', '.join(named)} on the back end: not created by this driver" in found.reason
    with pytest.raises(NameTaken):
        take(second)
    second.orphans.settle()
    assert {lun.name for lun in array.luns(SNAPSHOT)} == before
    assert [event for event in array.foreign_deletions() if event.by == "array-of-b"] == []


def test_a_group_snapshot_whose_name_was_taken_is_deleted_without_the_array(
    both: tuple[Site, Site], array: Array
) -> None:
    first, second = both
    id = take(first).record.id
    with pytest.raises(NameTaken):
        take(second)
    before = {lun.name for lun in array.luns(SNAPSHOT)}
    second.groups.delete(id, [])
    assert records_of_groups(second) == []
    assert {lun.name for lun in array.luns(SNAPSHOT)} == before
    assert {(orphan.kind, orphan.name) for orphan in second.orphans.find()} == {("snapshot", name) for name in before}


def test_a_group_snapshot_is_taken_once_its_name_is_free(both: tuple[Site, Site], array: Array) -> None:
    first, second = both
    id = take(first).record.id
    with pytest.raises(NameTaken):
        take(second)
    first.groups.delete(id, [])
    record = take(second).record
    assert (record.status, record.name_taken) == (Status.AVAILABLE, "")
    assert second.orphans.find() == ()
    second.groups.delete(id, [])
    assert array.luns(SNAPSHOT) == []
    assert array.foreign_deletions() == []


def test_a_group_snapshot_whose_name_was_taken_is_forgotten_as_a_whole(both: tuple[Site, Site]) -> None:
    first, second = both
    id = take(first).record.id
    with pytest.raises(NameTaken):
        take(second)
    assert second.orphans.forget(id) == (f"the record of group snapshot '{id}' on back end 'array-of-b'",)
    assert records_of_groups(second) == []
    assert second.orphans.find() == ()
    with pytest.raises(NotFound):
        second.orphans.forget(id)
