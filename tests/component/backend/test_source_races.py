"""A source is never deleted under a copy that is being made, whichever process does either (promise 43)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.backend.backend import Backend
from csi_cinderlib.errors import CorruptRecord, InUse, PreconditionFailed
from csi_cinderlib.model.records import Snapshot, Status, Volume
from tests.component.backend.conftest import MakeBackend
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore

KINDS = ["volume", "snapshot"]


def source_of(backend: Backend, kind: str) -> Any:
    volume = backend.create_volume(makers.volume())
    return volume if kind == "volume" else backend.create_snapshot(makers.snapshot(volume))


def delete(backend: Backend, source: Volume | Snapshot) -> None:
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
        monkeypatch.setattr(backend._engine, "lock", without_locks)
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
    with pytest.raises(PreconditionFailed, match="is being deleted" if how == "begins" else "was deleted meanwhile"):
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
    with pytest.raises(PreconditionFailed, match="is being deleted"):
        backend.resume_create_volume(copy)
    left = store.get(Volume, copy.id)
    assert (left.status, driver.volumes) == (Status.ERROR, before)
    assert "is being deleted" in left.message
