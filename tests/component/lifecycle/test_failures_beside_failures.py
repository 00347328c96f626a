"""The store fails just as the driver has failed: the caller is told what the driver said, and the record stays under way."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, InUse, StoreUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import cinders


def fail(backend: LocalBackend, method: str, store: ObservedStore, error: Exception) -> None:
    """Let the driver fail, and whoever reads the store next."""

    def away(_id: str) -> None:
        raise StoreUnavailable("the store is away")

    def failing(*_arguments: object) -> None:
        store.before["get"] = away
        raise error

    driver: Any = backend.driver
    setattr(driver, method, failing)


def test_a_refused_deletion_leaves_the_volume_usable(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    fail(backend, "delete_volume", store, cinders("VolumeIsBusy", volume_name="it"))
    with pytest.raises(InUse):
        backend.delete_volume(volume)
    store.before.clear()
    assert store.get(Volume, volume.id).status is Status.AVAILABLE


def test_a_failed_deletion_is_told(backend: LocalBackend, store: ObservedStore) -> None:
    volume = backend.create_volume(makers.volume())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    fail(backend, "delete_snapshot", store, RuntimeError("the array says no"))
    with pytest.raises(BackendError, match="the array says no"):
        backend.delete_snapshot(snapshot)
    store.before.clear()
    left = store.get(Snapshot, snapshot.id)
    assert (left.status, left.message) == (Status.DELETING, "back end 'fake': the array says no")


def test_a_failed_revert_is_told_and_over(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    volume = backend.create_volume(makers.volume())
    snapshot = backend.create_snapshot(makers.snapshot(volume))
    fail(backend, "revert_to_snapshot", store, RuntimeError("the array says no"))
    with pytest.raises(BackendError, match="the array says no"):
        backend.revert_volume(store.get(Volume, volume.id), snapshot)
    store.before.clear()
    assert store.get(Volume, volume.id).owner == ""
