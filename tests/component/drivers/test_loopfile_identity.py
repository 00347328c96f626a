"""A pool whose disk is not mounted, or is another one, is not an empty pool (promise 27)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.drivers import identities
from csi_cinderlib.errors import BackendError, BackendUnavailable, DriverError, NotFound
from csi_cinderlib.host import mounts
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Imported, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes import makers

from .conftest import DRIVER, FakeSnapshot, FakeVolume

Make = Callable[..., Any]
pytestmark = pytest.mark.root


def visible(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def deeds() -> dict[str, Callable[[Any, Any], object]]:
    """What a driver may be asked to do about a volume that is in the pool."""
    return {
        "create": lambda driver, _volume: driver.create_volume(FakeVolume()),
        "delete": lambda driver, volume: driver.delete_volume(volume),
        "delete a snapshot": lambda driver, volume: driver.delete_snapshot(FakeSnapshot(volume)),
        "extend": lambda driver, volume: driver.extend_volume(volume, 2),
        "take a snapshot": lambda driver, volume: driver.create_snapshot(FakeSnapshot(volume)),
        "clone": lambda driver, volume: driver.create_cloned_volume(FakeVolume(), volume),
        "connect": lambda driver, volume: driver.initialize_connection(volume, {}),
        "report": lambda driver, _volume: driver.get_volume_stats(refresh=True),
    }


DEEDS = ["create", "delete", "delete a snapshot", "extend", "take a snapshot", "clone", "connect", "report"]


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.parametrize("there", ["nothing", "another disk", "another pool"])
def test_nothing_is_done_where_the_disk_of_a_pool_has_gone_meanwhile(
    set_up: Make, mounted: Make, deeds: dict[str, Any], name: str, there: str
) -> None:
    directory = mounted("tmpfs", 2048)
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    mounts.unmount(str(directory))
    if there != "nothing":
        mounts.mount("none", str(directory), "tmpfs")
    if there == "another pool":
        set_up_elsewhere(directory)
    before = visible(directory)
    with pytest.raises(Exception, match=r"check that (its disk|the disk of \S+ \S+) is mounted"):
        deeds[name](driver, volume)
    assert visible(directory) == before


def set_up_elsewhere(directory: Path) -> None:
    from csi_cinderlib.drivers.directories import Directory, Limits

    pool = Directory("other", str(directory), Limits())
    pool.prepare(pool.initialise())


def test_a_disk_that_goes_amid_a_deletion_does_not_make_the_volume_gone(
    set_up: Make, mounted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unmounted lazily after the pool was found to be the right one."""
    directory = mounted("tmpfs", 1024)
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    pool = driver._pools["volumes"]
    real, opened = pool._open_lock, []

    def open_lock() -> int:
        opened.append(fd := real())
        if len(opened) == 2:  # the first looked whether the pool is there, the second locks it for the deletion
            mounts.unmount(str(directory), lazy=True)
        return int(fd)

    monkeypatch.setattr(pool, "_open_lock", open_lock)
    with pytest.raises(Exception, match=r"is no longer a pool; check that the disk of pool \S+ is mounted"):
        driver.delete_volume(volume)
    assert len(opened) == 2


def test_an_incomplete_file_goes_also_from_a_disk_that_was_unmounted_meanwhile(set_up: Make, mounted: Make) -> None:
    directory = mounted("ext4")
    source = next(item.source for item in mounts.table() if item.target == str(directory))
    with set_up(str(directory))._pools["volumes"].incomplete("volume-1"):
        mounts.unmount(str(directory), lazy=True)
        mounts.mount(source, str(directory), "ext4")
        assert len(visible(directory / ".incomplete")) == 1
        mounts.unmount(str(directory), lazy=True)
    mounts.mount(source, str(directory), "ext4")
    assert visible(directory / ".incomplete") == []


@pytest.mark.parametrize("name", ["connect", "clone", "extend", "take a snapshot"])
def test_a_file_of_the_same_name_in_another_pool_is_not_the_volume(
    set_up: Make, mounted: Make, deeds: dict[str, Any], name: str
) -> None:
    """Somebody copied the files to another disk."""
    directory = mounted("tmpfs", 2048)
    driver, volume = set_up(str(directory)), FakeVolume()
    driver.create_volume(volume)
    mounts.mount("none", str(directory), "tmpfs", ("size=2g",))
    set_up_elsewhere(directory)
    with (directory / volume.name).open("wb") as file:
        file.truncate(1024**3)
    with pytest.raises(Exception, match=r"instead of pool \S+; check that the disk of that pool is mounted"):
        deeds[name](driver, volume)
    mounts.unmount_uppermost(str(directory))
    deeds[name](driver, volume)


@pytest.mark.parametrize("left", [b"", b"\0" * 36, b"0123", b"not an id, but as long as one should"])
def test_what_a_power_cut_left_of_an_id_is_none(set_up: Make, volumes: Path, left: bytes) -> None:
    volumes.mkdir()
    (volumes / ".lock").write_bytes(bytes(8) + left)
    set_up(str(volumes)).create_volume(FakeVolume())
    assert identities.is_id((volumes / ".lock").read_bytes()[8:])


@pytest.mark.parametrize("there", ["nothing", "another disk", "another pool"])
def test_a_pool_whose_disk_is_not_there_at_the_start_is_refused(set_up: Make, mounted: Make, there: str) -> None:
    directory = mounted("tmpfs", 1024)
    set_up(str(directory))
    mounts.unmount(str(directory))
    if there != "nothing":
        mounts.mount("none", str(directory), "tmpfs")
    if there == "another pool":
        set_up_elsewhere(directory)
    before = visible(directory)
    with pytest.raises(
        Exception, match=rf"{directory}: it was pool .* is mounted\. To use a different pool at this path"
    ):
        set_up(str(directory))
    assert visible(directory) == before


def test_the_pool_is_used_again_once_its_disk_is_mounted(set_up: Make, mounted: Make, tmp_path: Path) -> None:
    directory, volume = mounted("ext4"), FakeVolume()
    source = next(item.source for item in mounts.table() if item.target == str(directory))
    set_up(str(directory)).create_volume(volume)
    mounts.unmount(str(directory))
    with pytest.raises(Exception, match="check that the disk of that pool is mounted"):
        set_up(str(directory))
    mounts.mount(source, str(directory), "ext4")
    set_up(str(directory)).delete_volume(volume)


def test_another_pool_is_used_in_its_place_when_an_operator_says_so(
    set_up: Make, mounted: Make, runtime: Runtime
) -> None:
    directory = mounted("tmpfs", 1024)
    set_up(str(directory))
    mounts.unmount(str(directory))
    identities.Memory(str(runtime.state_dir / "cinder")).file(str(directory)).unlink()
    set_up(str(directory)).create_volume(FakeVolume())


def test_a_pool_of_an_earlier_version_gets_an_id(set_up: Make, volumes: Path) -> None:
    volume = FakeVolume()
    set_up(str(volumes)).create_volume(volume)
    os.truncate(volumes / ".lock", 8)
    identities.Memory(str(volumes.parent / "state" / "cinder")).file(str(volumes)).unlink()
    set_up(str(volumes)).delete_volume(volume)
    assert (volumes / ".lock").stat().st_size == 8 + identities.LENGTH


# --- with the records of a store


class Site:
    """A back end with a store; its state directory may be lost, as that of a pod is."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.store = MemoryStore()
        self._number = 0
        self._end: list[Callable[[], None]] = []

    def start(self, directory: Path, pool: str = "pool", *, state: str = "") -> LocalBackend:
        """In a new process, with a new state directory unless one is named."""
        self._number += 1
        runtime = Runtime(self.base / f"state-{state or self._number}")
        options = {"loopfile_directories": [f"{pool}:{directory}"], "max_over_subscription_ratio": 1000}
        settings = BackendSettings(name="files", driver=DRIVER, options=options)
        backend = LocalBackend(settings, store=self.store, runtime=runtime)
        self._end += [runtime.close, backend.stop]
        backend.start()
        return backend

    def end(self) -> None:
        while self._end:
            self._end.pop()()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.end()


def create(backend: LocalBackend) -> Volume:
    return backend.create_volume(replace(makers.volume("files"), pool=""))


def test_records_tell_a_lost_disk_from_a_new_pool_where_the_state_directory_was_lost(site: Site, mounted: Make) -> None:
    directory = mounted("tmpfs", 1024)
    volume = create(site.start(directory))
    site.end()
    mounts.unmount(str(directory))
    with pytest.raises(BackendUnavailable, match="contains none of the 1 volumes and snapshots recorded in this pool"):
        site.start(directory)
    assert visible(directory) == []
    assert site.store.get(Volume, volume.id) == volume


def test_a_pool_with_only_a_static_import_is_known_where_the_state_directory_was_lost(
    site: Site, tmp_path: Path
) -> None:
    backend = site.start(tmp_path / "pool")
    with (tmp_path / "pool" / "disk.img").open("wb") as file:
        file.truncate(1 << 30)
    origin = Imported(name="disk.img", reference={"source-name": "disk.img"}, static=True)
    record = replace(makers.volume("files"), pool="", name="disk.img", imported=origin)
    with backend.importing() as imports:
        imports.begin(imports.examine(backend.place_import(record))[0])
    site.end()
    assert site.start(tmp_path / "pool").ready


def test_snapshots_that_outlived_their_volumes_tell_a_lost_disk_from_a_new_pool(site: Site, mounted: Make) -> None:
    directory = mounted("tmpfs", 1024)
    backend = site.start(directory)
    volume = create(backend)
    backend.create_snapshot(makers.snapshot(volume))
    backend.delete_volume(volume)
    site.end()
    mounts.unmount(str(directory))
    with pytest.raises(BackendUnavailable, match="contains none of the 1 volumes and snapshots recorded"):
        site.start(directory)
    assert visible(directory) == []


def test_a_back_end_whose_configuration_moves_its_pool_deletes_nothing_as_gone(site: Site, tmp_path: Path) -> None:
    """The first configuration file of the default back end."""
    volume = create(site.start(tmp_path / "first", "volumes"))
    site.end()
    with pytest.raises(BackendUnavailable, match="contains none of the 1 volumes and snapshots recorded in this pool"):
        site.start(tmp_path / "second", "volumes")
    backend = site.start(tmp_path / "second", "others")
    with pytest.raises(BackendError, match="its pool 'volumes' is not configured; add it to loopfile_directories"):
        backend.delete_volume(volume)
    assert site.store.get(Volume, volume.id)
    assert (tmp_path / "first" / f"volume-{volume.id}").exists()


def test_a_back_end_that_is_given_the_pool_of_another_one_deletes_nothing_as_gone(site: Site, tmp_path: Path) -> None:
    """Both directories are pools that were used before, as when two entries of the configuration are mixed up."""
    site.start(tmp_path / "second", state="kept")
    site.end()
    volume = create(site.start(tmp_path / "first", state="kept"))
    site.end()
    with pytest.raises(BackendUnavailable, match="contains none of the 1 volumes and snapshots recorded"):
        site.start(tmp_path / "second", state="kept")
    site.start(tmp_path / "first", state="kept").delete_volume(volume)
    assert not (tmp_path / "first" / f"volume-{volume.id}").exists()


def test_the_last_volume_of_a_pool_that_was_removed_by_hand_keeps_no_back_end_from_starting(
    site: Site, tmp_path: Path
) -> None:
    volume = create(site.start(tmp_path / "pool", state="kept"))
    site.end()
    (tmp_path / "pool" / f"volume-{volume.id}").unlink()
    site.start(tmp_path / "pool", state="kept").delete_volume(volume)
    assert site.store.page(Volume).records == ()


def test_a_volume_that_was_removed_from_its_pool_by_hand_can_be_deleted(site: Site, tmp_path: Path) -> None:
    backend = site.start(tmp_path / "pool")
    volume, other = create(backend), create(backend)
    (tmp_path / "pool" / f"volume-{volume.id}").unlink()
    backend.delete_volume(volume)
    with pytest.raises(NotFound):
        site.store.get(Volume, volume.id)
    assert site.store.get(Volume, other.id)


def test_a_failed_creation_leaves_no_record_also_where_nothing_was_created(site: Site, tmp_path: Path) -> None:
    backend = site.start(tmp_path / "pool")
    shutil.rmtree(tmp_path / "pool" / ".incomplete")
    with pytest.raises(DriverError):
        backend.create_volume(replace(makers.volume("files"), pool="", size=GiB(1)))
    assert site.store.page(Volume).records == ()
