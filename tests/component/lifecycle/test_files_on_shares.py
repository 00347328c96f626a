"""Drivers that keep volumes as files on shares: they write to what is there under a volume's name, and miss nothing that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, NameTaken
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Status, Volume
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import observe

DRIVER = "tests.support.fakes.local_nfs.LocalNfsDriver"
DATA = b"everything that somebody has"
GIB = 1024**3


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    shares = tmp_path / "shares"
    shares.write_text("server:/one\nserver:/two\n")
    return {
        "nfs_shares_config": str(shares),
        "nfs_mount_point_base": str(tmp_path / "mnt"),
        "nas_secure_file_operations": "true",
        "nas_secure_file_permissions": "true",
    }


@pytest.fixture
def backend(make: MakeBackend, options: dict[str, Any]) -> LocalBackend:
    return make(driver=DRIVER, **options)


def find(tmp_path: Path, volume: Volume) -> Path:
    (found,) = (tmp_path / "mnt").glob(f"*/volume-{volume.id}")
    return found


def write(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
        file.write(DATA)
        file.seek(size - len(DATA))
        file.write(DATA)


def holds_data(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        first = file.read(len(DATA))
        file.seek(size - len(DATA))
        return (first, file.read(), path.stat().st_size) == (DATA, DATA, size)


@pytest.mark.parametrize("source", [False, True], ids=["new", "clone"])
def test_a_file_of_that_name_is_left_alone(
    backend: LocalBackend, make: MakeBackend, options: dict[str, Any], tmp_path: Path, source: bool
) -> None:
    """Another installation's, or one that a restored copy of the store does not know any more."""
    volume = backend.create_volume(makers.volume())
    path = find(tmp_path, volume)
    write(path, 3 * GIB)
    records = MemoryStore()
    other = make("other", driver=DRIVER, store=records, **options)
    origin = other.create_volume(makers.volume(backend="other")) if source else None
    wanted = replace(makers.volume(backend="other", source=origin), id=volume.id)
    with pytest.raises(NameTaken, match="not created by this driver and is left untouched"):
        other.create_volume(wanted)
    with pytest.raises(NameTaken, match="not created by this driver and is left untouched"):
        other.resume_create_volume(records.get(Volume, volume.id))
    left = records.get(Volume, volume.id)
    assert (left.status, left.message) == (Status.ERROR, f"back end 'other': {path} exists")
    other.delete_volume(left)
    assert holds_data(path, 3 * GIB)
    path.unlink()
    assert other.create_volume(wanted).status is Status.AVAILABLE


@pytest.mark.parametrize("size", [1, 2])
def test_a_clone_is_a_copy_and_leaves_its_source_alone(backend: LocalBackend, tmp_path: Path, size: int) -> None:
    """A kill amid a clone by a temporary snapshot leaves a qcow2 file in the place of the source, which no node can attach."""
    source = backend.create_volume(makers.volume())
    path = find(tmp_path, source)
    write(path, GIB)
    seen = observe(
        backend.driver, "_set_rw_permissions", lambda _path: sorted(file.name for file in path.parent.iterdir())
    )
    clone = backend.create_volume(makers.volume(source=source, size=size))
    assert seen == [sorted([path.name, f"volume-{clone.id}"])]
    copy = find(tmp_path, clone)
    assert holds_data(path, GIB)
    assert copy.stat().st_size == size * GIB
    assert copy.stat().st_blocks * 512 < GIB // 2
    with copy.open("r+b") as file:
        file.truncate(GIB)
    assert holds_data(copy, GIB)


def test_a_volume_whose_file_was_not_there_when_it_was_deleted_is_noted(
    backend: LocalBackend, store: ObservedStore, tmp_path: Path
) -> None:
    """As on a server whose disk is not mounted: the file is back with the disk."""
    volume = backend.create_volume(makers.volume())
    path = find(tmp_path, volume)
    hidden = path.rename(tmp_path / "hidden")
    backend.delete_volume(volume)
    hidden.rename(path)
    (noted,) = (leftover for _, leftover in leftovers.walk(store) if leftover)
    assert (noted.id, noted.name) == (volume.id, path.name)
    assert "was not found" in noted.reason


def test_a_volume_whose_file_was_there_is_deleted_and_not_noted(
    backend: LocalBackend, store: ObservedStore, tmp_path: Path
) -> None:
    volume = backend.create_volume(makers.volume())
    path = find(tmp_path, volume)
    backend.delete_volume(volume)
    assert not path.exists()
    assert list(leftovers.walk(store)) == []


def test_a_file_is_left_alone_by_a_retry_after_the_shares_could_not_be_looked_at(
    backend: LocalBackend, make: MakeBackend, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = backend.create_volume(makers.volume())
    path = find(tmp_path, volume)
    write(path, 3 * GIB)
    records = MemoryStore()
    other = make("other", driver=DRIVER, store=records, **options)
    wanted = replace(makers.volume(backend="other"), id=volume.id)

    def fail() -> None:
        raise OSError("the server does not respond")

    with monkeypatch.context() as patched:
        patched.setattr(other.driver, "_ensure_shares_mounted", fail)
        with pytest.raises(BackendError, match="does not respond"):
            other.create_volume(wanted)
    assert records.page(Volume).records == ()
    with pytest.raises(NameTaken):
        other.create_volume(wanted)
    assert holds_data(path, 3 * GIB)
