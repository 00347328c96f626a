"""Promise 36: within a back end, too, what frees a volume does not wait behind what takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

ARRAY = "tests.support.fakes.array_driver.ArrayDriver"
SECONDS = 60.0


@dataclass(frozen=True)
class Busy:
    """A back end whose only slot is taken by a creation that hangs, and what was there before."""

    backend: LocalBackend
    idle: Volume
    attachment: Attachment


@pytest.fixture
def busy(make: MakeBackend, store: ObservedStore) -> Iterator[Busy]:
    backend = make(driver=ARRAY, max_concurrent_calls=1, nothing_faults=["create_volume:3=hang"])
    driver: Any = backend.driver
    idle, attached = backend.create_volume(makers.volume()), backend.create_volume(makers.volume())
    attachment = backend.connect(attached, makers.attachment(attached))
    creation = threading.Thread(target=backend.create_volume, args=(makers.volume(),))
    creation.start()
    assert driver.plan.hanging.wait(SECONDS)
    yield Busy(backend, store.get(Volume, idle.id), attachment)
    driver.plan.released.set()
    creation.join()


def ends(call: Any, *arguments: object) -> bool:
    """Whether the call ends while the creation still hangs."""
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return not thread.is_alive()


def test_a_volume_is_detached_beside_a_creation_that_hangs(busy: Busy, store: ObservedStore) -> None:
    assert ends(busy.backend.disconnect, busy.attachment)
    assert store.page(Attachment).records == ()


def test_a_volume_is_deleted_beside_a_creation_that_hangs(busy: Busy) -> None:
    assert ends(busy.backend.delete_volume, busy.idle)


def test_what_needs_no_call_is_answered_beside_a_creation_that_hangs(busy: Busy) -> None:
    assert ends(busy.backend.stats)
    assert busy.backend.capabilities.clone


def test_a_connector_is_looked_at_beside_a_creation_that_hangs(busy: Busy) -> None:
    assert ends(busy.backend.validate_connector, makers.attachment(busy.idle).connector)


def test_a_volume_is_attached_beside_as_many_creations_as_there_are_slots(
    make: MakeBackend, store: ObservedStore
) -> None:
    backend = make(driver=ARRAY, max_concurrent_calls=2, nothing_faults=["create_volume:2=hang"])
    driver: Any = backend.driver
    volume = backend.create_volume(makers.volume())
    creations = [threading.Thread(target=backend.create_volume, args=(makers.volume(),)) for _ in range(2)]
    for creation in creations:
        creation.start()
    assert driver.plan.hanging.wait(SECONDS)
    assert ends(backend.connect, volume, makers.attachment(volume))
    assert len(store.page(Attachment).records) == 1
    driver.plan.released.set()
    for creation in creations:
        creation.join()
