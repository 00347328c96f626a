"""The driver succeeds, and its answer cannot be stored: the record shows a failure that can be finished or deleted at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from csi_cinderlib.errors import StoreUnavailable
from csi_cinderlib.lifecycle.groups import MEMBERS
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

ANSWER = {"provider_location": "shelf 7"}


def lose_after(backend: LocalBackend, method: str, store: ObservedStore, *, stored: bool = False) -> None:
    """Let the next change of a record fail after the driver's method. With `stored` only the acknowledgement is lost."""
    original: Callable[..., Any] = getattr(backend.driver, method)

    def lose(record: Any) -> None:
        if stored:
            MemoryStore.replace(store, record)
        raise StoreUnavailable("the store is away")

    def succeed(*arguments: Any, **named: Any) -> Any:
        setattr(backend.driver, method, original)
        answer = original(*arguments, **named)
        store.before["replace"] = lose
        return {**(answer or {}), **ANSWER} if method.startswith("create_") else answer

    setattr(backend.driver, method, succeed)


@pytest.mark.parametrize("kind", ["empty", "clone", "from snapshot"])
def test_a_created_volume_is_in_error_and_is_deleted(backend: LocalBackend, store: ObservedStore, kind: str) -> None:
    origin = backend.create_volume(makers.volume())
    sources: dict[str, tuple[str, Any]] = {
        "empty": ("create_volume", None),
        "clone": ("create_cloned_volume", origin),
        "from snapshot": ("create_volume_from_snapshot", backend.create_snapshot(makers.snapshot(origin))),
    }
    method, source = sources[kind]
    wanted = makers.volume(source=source)
    lose_after(backend, method, store)
    with pytest.raises(StoreUnavailable):
        backend.create_volume(wanted)
    left = store.get(Volume, wanted.id)
    assert (left.status, left.owner, left.provider.location) == (Status.ERROR, "", "shelf 7")
    assert "could not be stored" in left.message
    backend.delete_volume(left)
    assert wanted.id not in {volume.id for volume in store.page(Volume).records}


def test_a_created_snapshot_is_in_error_and_is_deleted(backend: LocalBackend, store: ObservedStore) -> None:
    wanted = makers.snapshot(backend.create_volume(makers.volume()))
    lose_after(backend, "create_snapshot", store)
    with pytest.raises(StoreUnavailable):
        backend.create_snapshot(wanted)
    left = store.get(Snapshot, wanted.id)
    assert (left.status, left.owner, left.provider.location) == (Status.ERROR, "", "shelf 7")
    backend.delete_snapshot(left)
    assert store.page(Snapshot).records == ()


def test_a_volume_stays_available_if_only_the_acknowledgement_was_lost(
    backend: LocalBackend, store: ObservedStore
) -> None:
    wanted = makers.volume()
    lose_after(backend, "create_volume", store, stored=True)
    with pytest.raises(StoreUnavailable):
        backend.create_volume(wanted)
    assert store.get(Volume, wanted.id).status is Status.AVAILABLE


def test_an_extended_volume_stays_extending_and_is_finished(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    lose_after(backend, "extend_volume", store)
    with pytest.raises(StoreUnavailable):
        backend.extend_volume(volume, GiB(volume.size + 1))
    left = store.get(Volume, volume.id)
    assert (left.status, left.owner, left.size) == (Status.EXTENDING, "", volume.size)
    assert backend.extend_volume(left, GiB(volume.size + 1)).size == volume.size + 1


def test_a_connection_is_in_error_and_is_resumed(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    wanted = makers.attachment(volume)
    lose_after(backend, "initialize_connection", store)
    with pytest.raises(StoreUnavailable):
        backend.connect(volume, wanted)
    assert store.get(Attachment, wanted.id).status is Status.ERROR
    assert backend.connect(volume, wanted).status is Status.AVAILABLE


def test_a_reverted_volume_is_released(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    volume = backend.create_volume(makers.volume())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    lose_after(backend, "revert_to_snapshot", store)
    with pytest.raises(StoreUnavailable):
        backend.revert_volume(store.get(Volume, volume.id), snapshot)
    left = store.get(Volume, volume.id)
    assert (left.status, left.owner) == (Status.AVAILABLE, "")


def test_a_group_snapshot_is_in_error_and_keeps_the_ids_of_its_members(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver="tests.support.fakes.nothing.GroupDriver")
    members = [makers.snapshot(backend.create_volume(makers.volume())) for _ in range(2)]
    original: Callable[..., Any] = backend.driver.create_group_snapshot

    def lose_result(record: Any) -> None:
        if isinstance(record, GroupSnapshot) and record.status is Status.AVAILABLE:
            raise StoreUnavailable("the store is away")
        store.before["replace"] = lose_result  # of another record

    def located(*arguments: Any) -> Any:
        model, snapshots = original(*arguments)
        store.before["replace"] = lose_result
        return model, [{**snapshot, "provider_id": f"shelf {snapshot['id']}"} for snapshot in snapshots]

    backend.driver.create_group_snapshot = located
    wanted = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    with pytest.raises(StoreUnavailable):
        backend.create_group_snapshot(wanted, members)
    left = store.get(GroupSnapshot, wanted.id)
    assert (left.status, left.owner) == (Status.ERROR, "")
    assert {member.id: f"shelf {member.id}" for member in members} == {
        id: columns["provider_id"]
        for id, columns in left.fields[MEMBERS].items()  # type: ignore[attr-defined]  # by member
    }
    backend.delete_group_snapshot(left)
    assert (store.page(GroupSnapshot).records, store.page(Snapshot).records) == ((), ())
