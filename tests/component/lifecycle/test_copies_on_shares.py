"""Snapshots on NFS shares are copies of raw files, and attached volumes on them can grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csi_cinderlib.errors import DriverError, NameTaken, PreconditionFailed
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Snapshot, Volume
from csi_cinderlib.model.size import GiB
from tests.component.lifecycle.test_files_on_shares import DATA, DRIVER, GIB, backend, find, holds_data, options, write
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.watching import observe

__all__ = ["DRIVER", "backend", "options"]


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not named like the test: Cinder's driver measures a share without the files whose paths contain "snapshot"."""
    return tmp_path_factory.mktemp("shares")


@pytest.fixture
def volume(backend: LocalBackend, tmp_path: Path) -> Volume:
    created = backend.create_volume(makers.volume())
    write(find(tmp_path, created), GIB)
    return created


@pytest.fixture
def path(volume: Volume, tmp_path: Path) -> Path:
    return find(tmp_path, volume)


@pytest.fixture
def snapshot(backend: LocalBackend, volume: Volume) -> Snapshot:
    return backend.create_snapshot(makers.snapshot(volume))


def file_of(path: Path, snapshot: Snapshot) -> Path:
    return path.with_name(f"snapshot-{snapshot.id}")


def test_a_snapshot_is_a_sparse_copy(path: Path, snapshot: Snapshot) -> None:
    copy = file_of(path, snapshot)
    assert holds_data(copy, GIB)
    assert copy.stat().st_blocks * 512 < GIB // 2
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, copy.name])


def test_changes_of_the_volume_do_not_reach_the_snapshot(
    backend: LocalBackend, path: Path, snapshot: Snapshot, tmp_path: Path
) -> None:
    with path.open("r+b") as file:
        file.write(b"x" * len(DATA))
    restored = backend.create_volume(makers.volume(source=snapshot))
    assert holds_data(find(tmp_path, restored), GIB)
    assert not holds_data(path, GIB)


def test_a_volume_from_a_snapshot_has_the_requested_size(
    backend: LocalBackend, snapshot: Snapshot, tmp_path: Path
) -> None:
    restored = find(tmp_path, backend.create_volume(makers.volume(source=snapshot, size=3)))
    assert restored.stat().st_size == 3 * GIB
    with restored.open("r+b") as file:
        file.truncate(GIB)
    assert holds_data(restored, GIB)


def test_a_snapshot_remains_when_its_volume_is_deleted(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path, snapshot: Snapshot, tmp_path: Path
) -> None:
    backend.delete_volume(volume)
    assert not path.exists()
    restored = backend.create_volume(makers.volume(source=snapshot))
    assert holds_data(find(tmp_path, restored), GIB)
    backend.delete_volume(restored)
    backend.delete_snapshot(store.get(Snapshot, snapshot.id))
    assert list(path.parent.iterdir()) == []
    assert (store.page(Volume).records, store.page(Snapshot).records) == ((), ())


def test_a_deleted_snapshot_leaves_the_volume_alone(backend: LocalBackend, path: Path, snapshot: Snapshot) -> None:
    backend.delete_snapshot(snapshot)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert holds_data(path, GIB)


def test_a_file_with_the_name_of_the_snapshot_is_left_alone(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path
) -> None:
    wanted = makers.snapshot(volume)
    other = file_of(path, wanted)
    other.write_bytes(DATA)
    with pytest.raises(NameTaken, match="not created by this driver and is left untouched"):
        backend.create_snapshot(wanted)
    backend.delete_snapshot(store.get(Snapshot, wanted.id))
    assert other.read_bytes() == DATA


def test_a_copy_of_a_volume_that_changes_meanwhile_is_refused(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path
) -> None:
    """The copy contains blocks of different times: a node has attached the volume after the copy was begun."""

    def write_meanwhile(*_arguments: object) -> None:
        with path.open("r+b") as file:
            file.write(b"changed")

    observe(backend.driver, "_set_rw_permissions", write_meanwhile)
    from cinder.image import image_utils

    with pytest.MonkeyPatch.context() as patched:
        convert = image_utils.convert_image

        def convert_slowly(*arguments: object, **named: object) -> None:
            convert(*arguments, **named)
            write_meanwhile()

        patched.setattr(image_utils, "convert_image", convert_slowly)
        with pytest.raises(DriverError, match="was changed while it was copied"):
            backend.create_snapshot(makers.snapshot(volume))
        with pytest.raises(DriverError, match="was changed while it was copied"):
            backend.create_volume(makers.volume(source=volume))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (len(store.page(Volume).records), store.page(Snapshot).records) == (1, ())


def test_an_attached_volume_is_not_copied(backend: LocalBackend, volume: Volume, path: Path) -> None:
    attach(backend, volume)
    with pytest.raises(DriverError, match="attached"):
        backend.create_snapshot(makers.snapshot(volume))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_volume_with_a_snapshot_of_cinder_in_a_qcow2_file_is_refused(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path
) -> None:
    path.with_name(f"{path.name}.info").write_text(json.dumps({"active": path.name}))
    with pytest.raises(PreconditionFailed, match="qcow2 files, which are not supported"):
        backend.create_snapshot(makers.snapshot(volume))
    attach(backend, volume)
    with pytest.raises(PreconditionFailed, match="qcow2 files, which are not supported"):
        backend.extend_volume(store.get(Volume, volume.id), GiB(2))


def test_a_snapshot_whose_file_is_missing_is_noted_when_it_is_deleted(
    backend: LocalBackend, store: ObservedStore, path: Path, snapshot: Snapshot, tmp_path: Path
) -> None:
    hidden = file_of(path, snapshot).rename(tmp_path / "hidden")
    backend.delete_snapshot(snapshot)
    hidden.rename(file_of(path, snapshot))
    (noted,) = (leftover for _, leftover in leftovers.walk(store) if leftover)
    assert noted.id == snapshot.id


def test_an_attached_volume_grows(backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path) -> None:
    attach(backend, volume)
    assert backend.extend_volume(store.get(Volume, volume.id), GiB(2)).size == 2
    assert path.stat().st_size == 2 * GIB


def test_a_larger_file_of_an_attached_volume_is_never_reduced(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path
) -> None:
    attach(backend, volume)
    write(path, 5 * GIB)
    backend.extend_volume(store.get(Volume, volume.id), GiB(2))
    assert holds_data(path, 5 * GIB)


def attach(backend: LocalBackend, volume: Volume) -> None:
    backend.connect(volume, makers.attachment(volume))
