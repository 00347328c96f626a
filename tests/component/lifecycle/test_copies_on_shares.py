"""Snapshots on NFS shares are copies of raw files, and attached volumes on them can grow."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.errors import DriverError, InUse, NameTaken, PreconditionFailed, ResourceExhausted
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.component.lifecycle.test_files_on_shares import DATA, DRIVER, GIB, backend, find, holds_data, options, write
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.watching import observe

__all__ = ["DRIVER", "backend", "options"]


@pytest.fixture
def driver(backend: LocalBackend) -> Any:
    return backend.driver


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


def test_a_volume_with_snapshots_is_not_deleted(
    backend: LocalBackend, volume: Volume, path: Path, snapshot: Snapshot
) -> None:
    with pytest.raises(InUse):
        backend.delete_volume(volume)
    assert holds_data(path, GIB)
    assert holds_data(file_of(path, snapshot), GIB)


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
    backend: LocalBackend,
    driver: Any,
    store: ObservedStore,
    volume: Volume,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The copy contains blocks of different times: a node has attached the volume after the copy was begun."""
    execute = driver._execute

    def write_meanwhile(*command: str, **options: Any) -> Any:
        answer = execute(*command, **options)
        if command[0] == "cp":
            with path.open("r+b") as file:
                file.write(b"changed")
        return answer

    monkeypatch.setattr(driver, "_execute", write_meanwhile)
    with pytest.raises(DriverError, match="was changed while it was copied"):
        backend.create_snapshot(makers.snapshot(volume))
    with pytest.raises(DriverError, match="was changed while it was copied"):
        backend.create_volume(makers.volume(source=volume))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (len(store.page(Volume).records), store.page(Snapshot).records) == (1, ())


@pytest.mark.parametrize("source", ["volume", "snapshot"])
def test_the_share_of_a_copy_is_stored_before_its_file_is_made(
    backend: LocalBackend, driver: Any, store: ObservedStore, volume: Volume, snapshot: Snapshot, source: str
) -> None:
    """The clean-up of an attempt that is killed needs it."""
    original = volume if source == "volume" else snapshot
    wanted = makers.volume(source=original)
    seen = observe(driver, "_set_rw_permissions", lambda _path: store.get(Volume, wanted.id).provider.location)
    created = backend.create_volume(wanted)
    assert created.provider.location in seen


def test_the_format_of_a_volume_is_not_read_from_its_content(
    backend: LocalBackend, store: ObservedStore, snapshot: Snapshot, tmp_path: Path
) -> None:
    """The content belongs to the user of the volume, who could name any file of this host as a backing file."""
    restored = backend.create_volume(makers.volume(source=snapshot))
    path = find(tmp_path, restored)
    header = tmp_path / "header"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", header, "3G"], check=True)
    with path.open("r+b") as file:
        file.write(header.read_bytes())
    before = path.read_bytes()[: 1 << 20]
    attach(backend, restored)
    (attachment,) = store.page(Attachment).records
    assert attachment.connection_info["data"]["format"] == "raw"  # type: ignore[index]
    backend.disconnect(attachment)
    backend.extend_volume(store.get(Volume, restored.id), GiB(2))
    assert (path.stat().st_size, path.read_bytes()[: 1 << 20]) == (2 * GIB, before)
    taken = backend.create_snapshot(makers.snapshot(store.get(Volume, restored.id)))
    assert file_of(path, taken).read_bytes()[: 1 << 20] == before


def test_a_reverted_volume_has_the_content_of_the_snapshot(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path, snapshot: Snapshot
) -> None:
    with path.open("r+b") as file:
        file.write(b"x" * len(DATA))
    backend.revert_volume(store.get(Volume, volume.id), snapshot)
    assert holds_data(path, GIB)
    assert len(list(path.parent.iterdir())) == 2


def test_a_failed_extension_can_be_repeated(
    backend: LocalBackend, driver: Any, store: ObservedStore, volume: Volume, path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(driver, "_is_share_eligible", lambda *_arguments: False)
        with pytest.raises(ResourceExhausted, match="not enough space"):
            backend.extend_volume(volume, GiB(2))
    assert backend.extend_volume(store.get(Volume, volume.id), GiB(2)).size == 2
    assert path.stat().st_size == 2 * GIB


def test_a_copy_that_does_not_fit_is_not_begun(
    backend: LocalBackend, driver: Any, volume: Volume, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the space from attached volumes until it fails."""
    full = SimpleNamespace(f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(ResourceExhausted, match="No space left on the share"):
        backend.create_snapshot(makers.snapshot(volume))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_attached_volume_is_not_copied(backend: LocalBackend, volume: Volume, path: Path) -> None:
    attach(backend, volume)
    with pytest.raises(DriverError, match="attached"):
        backend.create_snapshot(makers.snapshot(volume))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def overlay(store: ObservedStore, volume: Volume, path: Path) -> Snapshot:
    """A snapshot that Cinder has taken, with newer data in its qcow2 file."""
    record = store.add(replace(makers.snapshot(volume), status=Status.AVAILABLE))
    file = path.with_name(f"{path.name}.{record.id}")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", path.name, "-F", "raw", file], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 0x61 0 512", file], check=True, capture_output=True)
    path.with_name(f"{path.name}.info").write_text(json.dumps({"active": file.name, record.id: file.name}))
    return record


def test_a_volume_with_a_snapshot_of_cinder_in_a_qcow2_file_is_refused(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path, overlay: Snapshot
) -> None:
    files = sorted(path.parent.iterdir())
    with pytest.raises(PreconditionFailed, match="qcow2 files, which are not supported"):
        backend.create_snapshot(makers.snapshot(volume))
    with pytest.raises(InUse):
        backend.delete_volume(store.get(Volume, volume.id))
    assert sorted(path.parent.iterdir()) == files


def test_a_snapshot_of_cinder_is_restored_and_deleted_by_cinder(
    backend: LocalBackend, store: ObservedStore, volume: Volume, path: Path, overlay: Snapshot, tmp_path: Path
) -> None:
    restored = backend.create_volume(makers.volume(source=overlay))
    assert holds_data(find(tmp_path, restored), GIB)
    backend.delete_snapshot(overlay)
    assert not path.with_name(f"{path.name}.{overlay.id}").exists()
    assert path.read_bytes()[:512] == b"a" * 512
    taken = backend.create_snapshot(makers.snapshot(store.get(Volume, volume.id)))
    assert file_of(path, taken).read_bytes()[:512] == b"a" * 512


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
