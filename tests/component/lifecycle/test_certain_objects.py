"""An import keeps its object, whatever the options of the back end mean later, and whatever has the name then."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.concurrency import KeyedLocks
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    DriverError,
    InvalidRequest,
    PreconditionFailed,
    StoreUnavailable,
    Unsupported,
)
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.capability import AccessMode
from csi_cinderlib.model.making import replace
from csi_cinderlib.model.records import Snapshot, Status, Volume
from csi_cinderlib.model.size import BYTES_PER_GIB, GiB
from csi_cinderlib.persistence import codec
from csi_cinderlib.provisioning.imports import Importing, ImportVolume, Origin
from tests.support.existing_files import LOOP_FILE, content_of, origin, wanted
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import AWAY, failing

Configure = Callable[..., LocalBackend]


@pytest.fixture
def backends() -> Backends:
    return Backends([])


@pytest.fixture
def configure(make: MakeBackend, backends: Backends, tmp_path: Path) -> Configure:
    """Makes the back end with a directory for each pool. Each directory contains a file `disk.img` with its name as content."""
    for name in "ab":
        (tmp_path / name).mkdir()
        put(tmp_path / name / "disk.img", name)

    def configure(**pools: str) -> LocalBackend:
        directories = [f"{pool}:{tmp_path / name}" for pool, name in pools.items()]
        backend = make("files", driver=LOOP_FILE, loopfile_directories=directories, max_over_subscription_ratio=1000)
        backends.add(backend)
        return backend

    return configure


@pytest.fixture
def importing(store: ObservedStore, backends: Backends) -> Importing:
    return Importing(store, backends, KeyedLocks())


def put(path: Path, text: str) -> None:
    with path.open("wb") as file:
        file.write(text.encode())
        file.truncate(BYTES_PER_GIB)


def visible(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_file() and path.name[0] != ".")


def uses_of(backend: LocalBackend, store: ObservedStore, id: str) -> list[Callable[[], object]]:
    def volume() -> Volume:
        return store.get(Volume, id)

    return [
        lambda: backend.connect(volume(), makers.attachment(volume())),
        lambda: backend.create_snapshot(makers.snapshot(volume())),
        lambda: backend.create_volume(makers.volume("files", source=volume())),
        lambda: backend.extend_volume(volume(), GiB(2)),
    ]


# --- static volumes


@pytest.mark.parametrize("pool", ["p", "q"])
def test_a_static_volume_does_not_follow_its_name_into_another_directory(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path, pool: str
) -> None:
    configure(p="a")
    volume = importing.volume(wanted(static=True))
    elsewhere = configure(**{pool: "b"})
    for use in uses_of(elsewhere, store, volume.id):
        with pytest.raises(BackendError, match=r"no directory of this back end is pool .*; add that directory"):
            use()
    assert (visible(tmp_path / "b"), (tmp_path / "b" / "disk.img").stat().st_size) == (["disk.img"], BYTES_PER_GIB)
    back = configure(renamed="a")
    attachment = back.connect(store.get(Volume, volume.id), makers.attachment(volume))
    data: Any = attachment.connection_info["data"]
    assert content_of(Path(data["path"])) == "a"
    back.disconnect(attachment)


def test_a_static_volume_is_not_another_file_of_its_name(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    backend = configure(p="a")
    volume = importing.volume(wanted(static=True))
    (tmp_path / "a" / "disk.img").rename(tmp_path / "a" / "aside")
    put(tmp_path / "a" / "disk.img", "of another owner")
    for use in uses_of(backend, store, volume.id):
        with pytest.raises(PreconditionFailed, match=r"'disk\.img' is not the object that was imported as volume"):
            use()
    assert visible(tmp_path / "a") == ["aside", "disk.img"]
    assert importing.undo(Volume, origin()).name == "disk.img"


def test_the_file_of_another_owner_is_not_replaced_by_a_revert(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    backend = configure(p="a")
    volume = importing.volume(wanted(static=True))
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    before = (tmp_path / "a" / "disk.img").stat().st_ino
    with pytest.raises(DriverError, match="used without managing it, so its file is not replaced"):
        backend.revert_volume(store.get(Volume, volume.id), store.get(Snapshot, snapshot.id))
    assert (tmp_path / "a" / "disk.img").stat().st_ino == before


def test_the_name_of_a_static_volume_does_not_prove_that_a_directory_is_its_pool(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    """An own volume proves it. The foreign directory has a file of the name of the static one."""
    first = configure(p="a")
    importing.volume(wanted(static=True))
    first.create_volume(replace(makers.volume("files"), pool="", size=GiB(1)))
    with pytest.raises(BackendUnavailable, match="contains none of the 1 volumes and snapshots recorded in this pool"):
        configure(p="b")


# --- interrupted imports, and undo


@pytest.mark.parametrize("pool", ["p", "q"])
def test_an_interrupted_import_is_not_finished_in_another_directory(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path, pool: str
) -> None:
    failing(configure(p="a").driver, "manage_existing", AWAY)
    with pytest.raises(BackendUnavailable):
        importing.volume(wanted())
    configure(**{pool: "b"})
    with pytest.raises(BackendError, match=r"no directory of this back end is pool"):
        importing.volume(wanted(pool="p"))
    with pytest.raises(BackendError, match=r"no directory of this back end is pool"):
        importing.undo(Volume, origin())
    (kept,) = store.page(Volume).records
    assert (kept.status, visible(tmp_path / "a"), visible(tmp_path / "b")) == (
        Status.UNMANAGING,
        ["disk.img"],
        ["disk.img"],
    )
    configure(p="a")
    assert importing.undo(Volume, origin()).name == "disk.img"


def test_an_interrupted_import_does_not_take_another_file_of_the_name(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    backend = configure(p="a")
    works = backend.driver.manage_existing
    failing(backend.driver, "manage_existing", AWAY)
    with pytest.raises(BackendUnavailable):
        importing.volume(wanted())
    backend.driver.manage_existing = works
    (tmp_path / "a" / "disk.img").rename(tmp_path / "a" / "aside")
    put(tmp_path / "a" / "disk.img", "of another owner")
    with pytest.raises(PreconditionFailed, match="was not found under that name"):
        importing.volume(wanted())
    for _ in range(2):
        with pytest.raises(BackendError, match="it was not given up"):
            importing.undo(Volume, origin())
    assert visible(tmp_path / "a") == ["aside", "disk.img"]


def test_the_undo_of_a_managed_volume_does_not_take_its_former_name_for_it(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    configure(p="a")
    volume = importing.volume(wanted())
    own = tmp_path / "a" / f"volume-{volume.id}"
    own.rename(tmp_path / "a" / "aside")
    put(tmp_path / "a" / "disk.img", "of another owner")
    for _ in range(2):
        with pytest.raises(BackendError, match=r"was not found; it was not given up|certainly the same"):
            importing.undo(Volume, origin())
    assert store.get(Volume, volume.id)


def test_the_undo_of_a_reverted_volume_is_finished_after_an_interruption(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    backend = configure(p="a")
    volume = importing.volume(wanted())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    backend.revert_volume(store.get(Volume, volume.id), store.get(Snapshot, snapshot.id))
    backend.delete_snapshot(store.get(Snapshot, snapshot.id))

    removes = store.remove
    failing(store, "remove", StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        importing.undo(Volume, origin())
    setattr(store, "remove", removes)  # noqa: B010  # mypy: a method
    assert importing.undo(Volume, origin()).name == "disk.img"


def test_the_undo_of_a_reverted_volume_does_not_take_its_former_name_for_it(
    configure: Configure, importing: Importing, store: ObservedStore, tmp_path: Path
) -> None:
    backend = configure(p="a")
    volume = importing.volume(wanted())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    backend.revert_volume(store.get(Volume, volume.id), store.get(Snapshot, snapshot.id))
    backend.delete_snapshot(store.get(Snapshot, snapshot.id))
    (tmp_path / "a" / f"volume-{volume.id}").rename(tmp_path / "a" / "aside")
    put(tmp_path / "a" / "disk.img", "of another owner")
    for _ in range(2):
        with pytest.raises(BackendError, match=r"was not found; it was not given up|certainly the same"):
            importing.undo(Volume, origin())
    assert (store.get(Volume, volume.id).status, visible(tmp_path / "a")) == (Status.UNMANAGING, ["aside", "disk.img"])
    (tmp_path / "a" / "aside").rename(tmp_path / "a" / f"volume-{volume.id}")
    (tmp_path / "a" / "disk.img").unlink()
    assert importing.undo(Volume, origin()).name == "disk.img"


# --- what cannot be known


def test_a_driver_without_a_list_needs_the_word_of_the_administrator(make: MakeBackend, store: ObservedStore) -> None:
    back = make("array", driver="tests.support.fakes.existing.ArrayWithVolumes")
    importing = Importing(store, Backends([back]), KeyedLocks())
    lun = Origin(backend="array", name="7", by_id=True)
    with pytest.raises(Unsupported, match=r"lists no volumes, so it is not known whether it is in use.*--unchecked"):
        importing.volume(ImportVolume(origin=lun))
    assert importing.volume(ImportVolume(origin=replace(lun, unchecked=True))).status is Status.AVAILABLE


@pytest.mark.parametrize("imported", [True, False], ids=["an imported volume", "a created volume"])
def test_an_id_is_refused_that_may_be_of_a_known_volume(
    make: MakeBackend, store: ObservedStore, imported: bool
) -> None:
    """The driver has no list, and finds its volumes by their names."""
    back = make("array", driver="tests.support.fakes.existing.ArrayWithVolumes")
    back.driver.manage_existing = back.driver.create_volume = lambda *_arguments: None
    importing = Importing(store, Backends([back]), KeyedLocks())
    by_id = ImportVolume(origin=Origin(backend="array", name="7", by_id=True, unchecked=True))
    by_name = ImportVolume(origin=Origin(backend="array", name="lun", unchecked=True))
    known = importing.volume(by_name) if imported else back.create_volume(makers.volume("array"))
    with pytest.raises(PreconditionFailed, match=f"may be volume '{known.id}', whose id on the array is not known"):
        importing.volume(by_id)
    assert [record.id for record in store.page(Volume).records] == [known.id]


def test_a_file_whose_use_by_others_cannot_be_seen_needs_the_word_of_the_administrator(
    configure: Configure, importing: Importing
) -> None:
    """As on NFS. The list says it as well."""
    driver = configure(p="a").driver
    details = driver.existing_details
    driver.existing_details = lambda subject, reference: {**details(subject, reference), "unseen": True}
    with pytest.raises(Unsupported, match="use of it by others cannot be seen; make sure that nothing uses it"):
        importing.volume(wanted())
    request = wanted()
    word = replace(request, origin=replace(request.origin, unchecked=True))
    assert importing.volume(word).status is Status.AVAILABLE


def test_a_driver_that_changes_a_volume_to_find_out_its_size_imports_none(
    make: MakeBackend, store: ObservedStore
) -> None:
    back = make("array", driver="tests.support.fakes.existing.Acs5000CommonDriver")
    importing = Importing(store, Backends([back]), KeyedLocks())
    with pytest.raises(Unsupported, match="cannot import existing volumes"):
        importing.volume(ImportVolume(origin=Origin(backend="array", name="7", by_id=True, unchecked=True)))
    assert back.driver.calls["manage_existing_get_size"] == 0


def test_a_driver_without_a_list_that_may_take_a_snapshot_of_another_volume_imports_none(
    make: MakeBackend, store: ObservedStore
) -> None:
    back = make("array", driver="tests.support.fakes.existing.ArrayWithSnapshots")
    importing = Importing(store, Backends([back]), KeyedLocks())
    lun = Origin(backend="array", name="7", by_id=True, unchecked=True)
    volume = importing.volume(ImportVolume(origin=lun))
    with pytest.raises(Unsupported, match="lists no snapshots, and may take one of another volume"):
        importing.snapshot(Origin(backend="array", name="daily"), volume.id)


def test_a_volume_for_several_nodes_needs_a_back_end_that_supports_it(make: MakeBackend, store: ObservedStore) -> None:
    back = make("array", driver="tests.support.fakes.existing.ArrayWithVolumes", nothing_multiattach=False)
    importing = Importing(store, Backends([back]), KeyedLocks())
    lun = ImportVolume(origin=Origin(backend="array", name="7", by_id=True, unchecked=True), block=True)
    shared = replace(lun, access_modes=(AccessMode.MULTI_NODE_MULTI_WRITER,))
    with pytest.raises(InvalidRequest, match="volumes for several nodes are not supported by: array/one"):
        importing.volume(shared)
    assert store.page(Volume).records == ()
    assert importing.volume(lun).multiattach is False


@pytest.mark.parametrize(("answer", "size"), [(10.0, 10), (9.5, 10), (3, 3)])
def test_a_fractional_size_is_rounded_up(make: MakeBackend, store: ObservedStore, answer: float, size: int) -> None:
    back = make("array", driver="tests.support.fakes.existing.ArrayWithVolumes")
    back.driver.manage_existing_get_size = lambda _volume, _reference: answer
    importing = Importing(store, Backends([back]), KeyedLocks())
    lun = Origin(backend="array", name="7", by_id=True, unchecked=True)
    assert importing.volume(ImportVolume(origin=lun)).size == size


@pytest.mark.parametrize("answer", [True, "10", math.nan, math.inf, 0, -1.0, None])
def test_what_is_no_size_is_refused(make: MakeBackend, store: ObservedStore, answer: object) -> None:
    back = make("array", driver="tests.support.fakes.existing.ArrayWithVolumes")
    back.driver.manage_existing_get_size = lambda _volume, _reference: answer
    importing = Importing(store, Backends([back]), KeyedLocks())
    lun = Origin(backend="array", name="7", by_id=True, unchecked=True)
    with pytest.raises(BackendError, match="as the size of"):
        importing.volume(ImportVolume(origin=lun))


# --- earlier programs


def test_a_program_that_would_take_an_import_for_its_own_cannot_read_it(
    configure: Configure, importing: Importing, store: ObservedStore
) -> None:
    configure(p="a")
    assert codec.encode(importing.volume(wanted()))["v"] == 2
    plain = makers.volume("files")
    small = replace(plain, provider=replace(plain.provider, geometry="512"))
    assert (codec.encode(plain)["v"], codec.encode(small)["v"]) == (1, 2)
