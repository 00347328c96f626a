"""Promise 25: what another installation, or an administrator, has on the same array is never deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.backend.runtime import Runtime
from csi_cinderlib.errors import DriverError
from csi_cinderlib.model.records import Status
from csi_cinderlib.persistence.plugins import open_store
from tests.component.provisioning.conftest import Site, snapshotting
from tests.support.fakes.array import VOLUME, Array

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
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
        made.add_backend(f"array-of-{name}", driver=ARRAY, array_file=str(tmp_path / "array.log"), **options)
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
