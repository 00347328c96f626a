"""Logical volumes with data, made by LVM's own tools, are imported by Cinder's driver, read over iSCSI and given up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import AlreadyExists, BackendError, InUse, PreconditionFailed
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from tests.guest.inside import lvm
from tests.guest.inside.shell import run, settle
from tests.guest.scenarios import contract
from tests.support.fakes import makers
from tests.support.fakes.beds import BACKEND, Bed, Place

pytestmark = pytest.mark.guest("contract-thick")

WORDS = "from before"


@pytest.fixture
def bed() -> Bed:
    return contract.bed_of("lvm-thick")


@pytest.fixture
def place(bed: Bed, tmp_path: Path, runtime: Runtime, request: pytest.FixtureRequest) -> Iterator[Place]:
    yield from contract.place_of(bed, tmp_path, runtime, request)


@pytest.fixture
def importing(place: Place) -> Importing:
    return Importing(place.store, Backends([place.backend]), KeyedLocks())


@pytest.fixture
def data(place: Place, tmp_path: Path) -> Iterator[str]:
    """The device of the logical volume `data`, with a file system and a file. It still exists under this name afterwards."""
    with lvm.logical_volume(lvm.THICK, "data") as device:
        run("mkfs.ext4", "-q", device)
        with mounted(device, tmp_path) as folder:
            (folder / "words").write_text(WORDS)
        yield device


class mounted:
    def __init__(self, device: str | Path, folder: Path) -> None:
        self._device, self._folder = str(device), folder / "mounted"

    def __enter__(self) -> Path:
        self._folder.mkdir(exist_ok=True)
        run("mount", self._device, self._folder)
        return self._folder

    def __exit__(self, *_: object) -> None:
        run("umount", self._folder)
        settle()


def wanted(name: str = "data", *, static: bool = False) -> ImportVolume:
    return ImportVolume(origin=Origin(backend=BACKEND, name=name, static=static))


def read(place: Place, volume: Volume, folder: Path) -> str:
    """The file, over iSCSI."""
    attachment = place.backend.connect(volume, makers.attachment(volume, connector=place.connector()))
    with place.device(attachment) as device, mounted(device, folder) as found:
        words = (found / "words").read_text()
    place.backend.disconnect(attachment)
    assert place.store.page(Attachment).records == ()
    return words


def names() -> set[str]:
    return lvm.volumes(lvm.THICK)


def test_a_logical_volume_is_imported_read_and_gets_its_name_back(
    place: Place, importing: Importing, data: str, tmp_path: Path
) -> None:
    (listed,) = (item for item in importing.candidates(BACKEND) if item.reference == {"source-name": "data"})
    assert (listed.size, listed.problem) == (1, "")
    volume = importing.volume(wanted())
    assert (volume.status, volume.size, volume.blank) == (Status.AVAILABLE, 1, False)
    assert names() == {f"volume-{volume.id}"}
    assert read(place, volume, tmp_path) == WORDS
    with pytest.raises(AlreadyExists, match=f"it is volume '{volume.id}'"):
        importing.volume(wanted(f"volume-{volume.id}"))
    assert importing.undo(Volume, wanted().origin).name == "data"
    assert names() == {"data"}
    with mounted(data, tmp_path) as folder:
        assert (folder / "words").read_text() == WORDS


def test_a_static_logical_volume_keeps_its_name_and_outlives_its_deletion(
    place: Place, importing: Importing, data: str, tmp_path: Path
) -> None:
    volume = importing.volume(wanted(static=True))
    assert read(place, volume, tmp_path) == WORDS
    place.backend.delete_volume(place.store.get(Volume, volume.id))
    assert names() == {"data"}


def test_a_logical_volume_in_use_or_missing_is_refused(
    place: Place, importing: Importing, data: str, tmp_path: Path
) -> None:
    with mounted(data, tmp_path), pytest.raises(InUse, match="volume 'data' on back end 'bed': volume in use"):
        importing.volume(wanted())
    with pytest.raises(BackendError, match="does not exist"):
        importing.volume(wanted("missing"))
    assert (names(), place.store.page(Volume).records) == ({"data"}, ())


def test_an_interrupted_import_is_finished_or_given_up(place: Place, importing: Importing, data: str) -> None:
    """As after a kill: the driver has renamed it, and the record does not say so."""
    volume = importing.volume(wanted())
    place.store.replace(replace(place.store.get(Volume, volume.id), status=Status.IMPORTING, owner="dead"))
    assert importing.volume(wanted()).status is Status.AVAILABLE
    place.store.replace(replace(place.store.get(Volume, volume.id), status=Status.UNMANAGING, owner="dead"))
    assert importing.undo(Volume, wanted().origin).name == "data"
    assert names() == {"data"}


def test_a_snapshot_of_an_imported_volume_is_imported_restored_and_given_up(
    place: Place, importing: Importing, data: str, tmp_path: Path
) -> None:
    volume = importing.volume(wanted())
    run("lvcreate", "-qq", "-s", "-L", "100M", "-n", "monday", f"{lvm.THICK}/volume-{volume.id}")
    origin = Origin(backend=BACKEND, name="monday")
    snapshot = importing.snapshot(origin, volume.id)
    restored = place.backend.create_volume(makers.volume(BACKEND, source=snapshot))
    assert read(place, restored, tmp_path) == WORDS
    place.backend.delete_volume(place.store.get(Volume, restored.id))
    assert importing.undo(Snapshot, origin).name == "monday"
    assert "monday" in names()
    run("lvremove", "-qq", "-f", f"{lvm.THICK}/monday")
    assert importing.undo(Volume, wanted().origin).name == "data"


def test_a_snapshot_of_another_logical_volume_is_refused(
    place: Place, importing: Importing, data: str, tmp_path: Path
) -> None:
    """A revert to it would merge it into that one."""
    volume = importing.volume(wanted())
    with lvm.logical_volume(lvm.THICK, "other") as device:
        run("mkfs.ext4", "-q", device)
        run("lvcreate", "-qq", "-s", "-L", "100M", "-n", "monday", f"{lvm.THICK}/other")
        with pytest.raises(PreconditionFailed, match=r"is not a snapshot of volume .*: it is a snapshot of other"):
            importing.snapshot(Origin(backend=BACKEND, name="monday"), volume.id)
        assert (place.store.page(Snapshot).records, "monday" in names()) == ((), True)
        run("lvremove", "-qq", "-f", f"{lvm.THICK}/monday")
    assert importing.undo(Volume, wanted().origin).name == "data"


def test_a_static_volume_is_not_another_logical_volume_of_its_name(
    place: Place, importing: Importing, data: str, tmp_path: Path
) -> None:
    volume = importing.volume(wanted(static=True))
    assert volume.imported is not None
    assert volume.imported.place
    assert volume.imported.object_id
    run("lvrename", "-qq", lvm.THICK, "data", "aside")
    try:
        with lvm.logical_volume(lvm.THICK, "data"):
            current = place.store.get(Volume, volume.id)
            with pytest.raises(PreconditionFailed, match="'data' is not the object that was imported as volume"):
                place.backend.connect(current, makers.attachment(current, connector=place.connector()))
            with pytest.raises(PreconditionFailed, match="'data' is not the object that was imported as volume"):
                place.backend.create_snapshot(makers.snapshot(current))
            assert names() == {"data", "aside"}
    finally:
        run("lvrename", "-qq", lvm.THICK, "aside", "data")
    assert read(place, place.store.get(Volume, volume.id), tmp_path) == WORDS
    assert importing.undo(Volume, wanted().origin).name == "data"


def test_an_undo_does_not_take_another_logical_volume_with_the_former_name_for_its_own(
    place: Place, importing: Importing, data: str
) -> None:
    volume = importing.volume(wanted())
    run("lvrename", "-qq", lvm.THICK, f"volume-{volume.id}", "aside")
    with lvm.logical_volume(lvm.THICK, "data"):
        for _ in range(2):
            with pytest.raises(BackendError, match="it was not given up"):
                importing.undo(Volume, wanted().origin)
        assert names() == {"data", "aside"}
    run("lvrename", "-qq", lvm.THICK, "aside", f"volume-{volume.id}")
    assert importing.undo(Volume, wanted().origin).name == "data"


def test_a_snapshot_is_not_imported_as_a_volume(place: Place, importing: Importing, data: str) -> None:
    """The driver does not list it, so it is not known whether it is mounted."""
    run("lvcreate", "-qq", "-s", "-L", "100M", "-n", "monday", f"{lvm.THICK}/data")
    try:
        with pytest.raises(PreconditionFailed, match="volume 'monday' is not in the list of back end"):
            importing.volume(wanted("monday"))
        assert (names(), place.store.page(Volume).records) == ({"data", "monday"}, ())
    finally:
        run("lvremove", "-qq", "-f", f"{lvm.THICK}/monday")
