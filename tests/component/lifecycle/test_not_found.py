"""Promise 25: "not found" counts only when a driver says it of the very object that the call is about.

Drivers raise Cinder's VolumeNotFound also for a missing mapping, a source or a parent. To take that for the object itself would
forget what is still on the array.
"""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, DriverError
from csi_cinderlib.lifecycle import leftovers
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.array import SNAPSHOT, Array
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"


def array(backend: LocalBackend) -> Array:
    driver: Any = backend.driver
    found: Array = driver.array
    return found


@pytest.mark.parametrize("error", ["mapping-not-found", "other-volume-not-found", "volume-not-found"])
def test_a_volume_is_deleted_although_its_export_is_not_found(
    make: MakeBackend, store: ObservedStore, error: str
) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"remove_export={error}"])
    backend.delete_volume(backend.create_volume(makers.volume()))
    assert store.page(Volume).records == ()
    assert array(backend).luns() == []


@pytest.mark.parametrize("error", ["snapshot-not-found", "other-volume-not-found"])
def test_a_volume_is_not_forgotten_when_something_else_is_not_found(
    make: MakeBackend, store: ObservedStore, error: str
) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"delete_volume:1={error}"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.delete_volume(volume)
    left = store.get(Volume, volume.id)
    assert left.status is Status.DELETING
    assert "could not be found" in left.message
    backend.delete_volume(left)
    assert array(backend).luns() == []


@pytest.mark.parametrize("error", ["mapping-not-found", "volume-not-found"])
def test_a_volume_that_its_driver_does_not_find_is_noted(make: MakeBackend, store: ObservedStore, error: str) -> None:
    """It may be there: `mapping-not-found` says so of a mapping, by the volume's name."""
    backend = make(driver=ARRAY, nothing_faults=[f"delete_volume:1={error}"])
    volume = backend.create_volume(makers.volume())
    backend.delete_volume(volume)
    (lun,) = array(backend).luns()
    (noted,) = (leftover for _, leftover in leftovers.walk(store) if leftover)
    assert (noted.id, noted.name) == (volume.id, lun.name)
    assert "did not find it on deletion" in noted.reason


def test_a_volume_that_an_earlier_attempt_may_have_deleted_is_not_noted(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver=ARRAY, nothing_faults=["delete_volume:1@after=timed-out", "delete_volume:2=volume-not-found"])
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError):
        backend.delete_volume(volume)
    backend.delete_volume(store.get(Volume, volume.id))
    assert array(backend).luns() == []
    assert list(leftovers.walk(store)) == []


def test_a_snapshot_that_its_driver_does_not_find_is_noted(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ARRAY, nothing_faults=["delete_snapshot:1=own-snapshot-not-found"])
    snapshot = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    backend.delete_snapshot(snapshot)
    (noted,) = (leftover for _, leftover in leftovers.walk(store) if leftover)
    assert (noted.kind, noted.id) == ("snapshot", snapshot.id)


@pytest.mark.parametrize("error", ["volume-not-found", "other-volume-not-found"])
def test_a_snapshot_is_not_forgotten_when_a_volume_is_not_found(
    make: MakeBackend, store: ObservedStore, error: str
) -> None:
    backend = make(driver=ARRAY, nothing_faults=[f"delete_snapshot:1={error}"])
    snapshot = backend.create_snapshot(makers.snapshot(backend.create_volume(makers.volume())))
    with pytest.raises(BackendError):
        backend.delete_snapshot(snapshot)
    backend.delete_snapshot(store.get(Snapshot, snapshot.id))
    assert array(backend).luns(SNAPSHOT) == []


def test_a_failed_creation_is_not_forgotten_when_its_clean_up_does_not_find_something_else(
    make: MakeBackend, store: ObservedStore
) -> None:
    faults = ["create_volume@after=timed-out", "delete_volume=snapshot-not-found"]
    backend = make(driver=ARRAY, nothing_faults=faults)
    volume = makers.volume()
    with pytest.raises(BackendError, match="timed out"):
        backend.create_volume(volume)
    assert [lun.name for lun in array(backend).luns()] == [f"volume-{volume.id}"]
    assert store.get(Volume, volume.id).status is Status.ERROR


def test_a_node_stays_attached_when_another_volume_is_not_found(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(driver=ARRAY, nothing_faults=["terminate_connection:1=other-volume-not-found"])
    volume = backend.create_volume(makers.volume())
    attachment = backend.connect(volume, makers.attachment(volume))
    with pytest.raises(DriverError):
        backend.disconnect(attachment)
    left = store.get(Attachment, attachment.id)
    assert left.status is Status.DELETING
    backend.disconnect(left)
    assert [lun.hosts for lun in array(backend).luns()] == [set()]


@pytest.mark.parametrize("error", ["timed-out", "other-volume-not-found"])
def test_a_mapping_that_a_failed_connection_may_have_left_stays_visible(
    make: MakeBackend, store: ObservedStore, error: str
) -> None:
    faults = ["initialize_connection:1@after=timed-out", f"terminate_connection:1={error}"]
    backend = make(driver=ARRAY, nothing_faults=faults)
    volume = backend.create_volume(makers.volume())
    with pytest.raises(BackendError, match="timed out"):
        backend.connect(volume, makers.attachment(volume))
    (left,) = store.page(Attachment).records
    assert (left.status, [lun.hosts for lun in array(backend).luns()]) == (Status.ERROR, [{"node-1"}])
    assert "timed out" in left.message
    backend.disconnect(left)
    assert (store.page(Attachment).records, [lun.hosts for lun in array(backend).luns()]) == ((), [set()])
