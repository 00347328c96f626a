"""A source is never deleted under a copy that is being made, whichever process does either (promise 43)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import CorruptRecord, InUse, NotFound
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

LOOPFILE = "csi_cinderlib.drivers.loopfile.LoopFileDriver"

KINDS = ["volume", "snapshot"]


def source_of(backend: LocalBackend, kind: str) -> Any:
    volume = backend.create_volume(makers.volume())
    return volume if kind == "volume" else backend.create_snapshot(makers.snapshot(volume))


def delete(backend: LocalBackend, source: Volume | Snapshot) -> None:
    if isinstance(source, Volume):
        backend.delete_volume(source)
    else:
        backend.delete_snapshot(source)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_not_deleted_while_it_is_copied(
    make: MakeBackend, store: ObservedStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make()
    driver: Any = backend.driver
    source = source_of(backend, kind)
    method = "create_cloned_volume" if kind == "volume" else "create_volume_from_snapshot"
    original, refused = getattr(driver, method), []

    def copy(*arguments: Any) -> Any:
        """Another process, which does not share the locks of this one, deletes the source."""
        monkeypatch.setattr(backend.verbs._engine, "lock", without_locks)
        with pytest.raises(InUse, match=f"{kind} .* is the source of volume .*, which is being created"):
            delete(backend, source)
        refused.append(True)
        return original(*arguments)

    monkeypatch.setattr(driver, method, copy)
    made = backend.create_volume(makers.volume(source=source))
    assert refused
    assert made.status is Status.AVAILABLE
    source = store.get(type(source), source.id)
    assert source.status is Status.AVAILABLE
    delete(backend, source)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_is_not_deleted_while_a_creation_cannot_be_read_that_may_copy_it(
    make: MakeBackend, store: ObservedStore, kind: str
) -> None:
    backend = make()
    source = source_of(backend, kind)
    copy = store.add(replace(makers.volume(source=source), status=Status.CREATING, owner="elsewhere"))
    unreadable = f'{{"status": "creating", "backend": "{copy.backend}"}}'
    store._put_raw(Volume, copy.id, "2-x", unreadable)
    with pytest.raises(CorruptRecord, match=f"'{copy.id}'"):
        delete(backend, source)
    left = store.get(type(source), source.id)
    assert (left.status, left.owner) == (Status.AVAILABLE, "")
    store._put_raw(Volume, copy.id, "3-x", unreadable.replace("creating", "available"))
    delete(backend, left)


def test_a_deletion_that_a_copy_holds_up_says_until_when(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    source = source_of(backend, "snapshot")
    since = "2026-01-01T10:00:00.000000Z"
    copy = store.add(replace(makers.volume(source=source), status=Status.CREATING, owner="dead", created_at=since))
    with pytest.raises(InUse, match=f"{copy.id}.* since {since}; .* undone after 2026-01-01T10:10:00.000000Z"):
        backend.delete_snapshot(source)
    copy = store.replace(replace(copy, created_at=""))
    with pytest.raises(InUse, match=r"which is being created$"):
        backend.delete_snapshot(store.get(Snapshot, source.id))


class without_locks:  # in place of a method
    def __init__(self, _name: str) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["begins", "ends"])
def test_a_copy_of_what_is_deleted_at_that_moment_is_refused_and_leaves_nothing(
    make: MakeBackend, store: ObservedStore, kind: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make()
    source = source_of(backend, kind)
    add = store.add

    def deleted_first(record: Any) -> Any:
        monkeypatch.undo()
        current = store.get(type(source), source.id)
        if how == "begins":
            store.replace(replace(current, status=Status.DELETING, owner="elsewhere"))
        else:
            store.remove(current)
        return add(record)

    monkeypatch.setattr(store, "add", deleted_first)
    copy = makers.volume(source=source)
    with pytest.raises(NotFound, match="is being deleted" if how == "begins" else "does not exist"):
        backend.create_volume(copy)
    assert copy.id not in {volume.id for volume in store.page(Volume).records}


@pytest.mark.parametrize("kind", KINDS)
def test_a_creation_is_not_resumed_from_what_is_being_deleted(
    make: MakeBackend, store: ObservedStore, kind: str
) -> None:
    backend = make()
    driver: Any = backend.driver
    source = source_of(backend, kind)
    copy = store.add(replace(makers.volume(source=source), status=Status.ERROR))
    store.replace(replace(source, status=Status.DELETING, owner="elsewhere"))
    before = dict(driver.volumes)
    with pytest.raises(NotFound, match="is being deleted"):
        backend.resume_create_volume(copy)
    left = store.get(Volume, copy.id)
    assert (left.status, driver.volumes) == (Status.ERROR, before)
    assert "is being deleted" in left.message


@pytest.fixture
def files(make: MakeBackend, tmp_path: Path) -> LocalBackend:
    """A back end whose snapshots outlive their volumes."""
    return make(driver=LOOPFILE, loopfile_directories=[str(tmp_path / "files")])


@pytest.mark.parametrize("how", ["begins", "ends"])
def test_a_snapshot_of_what_is_deleted_at_that_moment_is_refused_and_leaves_nothing(
    files: LocalBackend, store: ObservedStore, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = files.create_volume(makers.volume())
    add = store.add

    def deleted_meanwhile(record: Any) -> Any:
        """Another process deletes the volume, and meets the snapshot's record when it removes the volume's."""
        added = add(record)
        monkeypatch.undo()
        status = Status.DELETING if how == "begins" else Status.DELETED
        store.replace(replace(store.get(Volume, volume.id), status=status, owner="elsewhere"))
        return added

    monkeypatch.setattr(store, "add", deleted_meanwhile)
    with pytest.raises(NotFound, match="is being deleted" if how == "begins" else "does not exist"):
        files.create_snapshot(makers.snapshot(volume))
    assert store.page(Snapshot).records == ()
    assert [one.status for one in store.page(Volume).records] == ([Status.DELETING] if how == "begins" else [])
    assert [path.name for path in (tmp_path / "files").glob("*-*")] == [f"volume-{volume.id}"]


def test_a_deletion_that_meets_the_record_of_a_new_snapshot_says_so_to_its_creation(
    files: LocalBackend, store: ObservedStore
) -> None:
    volume = files.create_volume(makers.volume())
    late = makers.snapshot(volume)
    store.before["remove"] = lambda _record: store.add(replace(late, status=Status.CREATING))
    files.delete_volume(volume)
    assert store.get(Volume, volume.id).status is Status.DELETED


def test_the_last_snapshot_goes_while_its_volume_is_deleted(
    files: LocalBackend, store: ObservedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = files.create_volume(makers.volume())
    snapshot = files.create_snapshot(makers.snapshot(volume))
    put = store.replace

    def gone_first(record: Any) -> Any:
        if isinstance(record, Volume) and record.status is Status.DELETED:
            monkeypatch.undo()
            files.delete_snapshot(snapshot)
        return put(record)

    monkeypatch.setattr(store, "replace", gone_first)
    files.delete_volume(volume)
    with pytest.raises(NotFound):
        store.get(Volume, volume.id)


def test_a_deletion_of_a_deleted_volume_asks_nothing_of_its_back_end(files: LocalBackend, store: ObservedStore) -> None:
    volume = files.create_volume(makers.volume())
    files.create_snapshot(makers.snapshot(volume))
    files.delete_volume(volume)
    deleted, before = store.get(Volume, volume.id), files.stats().pools
    files.stop()
    files.delete_volume(deleted)
    files.start()
    assert store.get(Volume, volume.id) == deleted
    assert [pool.allocated for pool in files.stats().pools] == [pool.allocated for pool in before]


def test_a_driver_is_not_told_of_volumes_that_are_kept_for_their_snapshots(files: LocalBackend) -> None:
    from cinder import context, objects

    volumes = [files.create_volume(makers.volume()) for _ in range(2)]
    taken = files.create_snapshot(makers.snapshot(volumes[0]))
    files.delete_volume(volumes[0])
    admin, host = context.get_admin_context(), volumes[0].host.partition("#")[0]
    assert [one.id for one in objects.VolumeList.get_all_by_host(admin, host)] == [volumes[1].id]
    (snapshot,) = objects.SnapshotList.get_by_host(admin, host)
    assert (snapshot.id, snapshot.volume.host) == (taken.id, volumes[0].host)
