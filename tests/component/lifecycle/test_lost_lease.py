"""A process that loses its lease in the middle of an operation calls no driver and changes no record afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from csi_cinderlib.errors import BackendUnavailable, LeaseLost
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.persistence.lease import LeasedStore
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend


class Held:
    """A lease that is there until it is lost."""

    def __init__(self) -> None:
        self.lost = False

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("another process holds the lease")

    def lose_after(self, backend: LocalBackend, method: str) -> None:
        """Lose it while the driver is at work on this."""
        driver: Any = backend.driver
        original = getattr(driver, method)

        def called(*arguments: Any, **named: Any) -> Any:
            answer = original(*arguments, **named)
            self.lost = True
            return answer

        setattr(driver, method, called)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def backend(make: MakeBackend, store: ObservedStore, held: Held) -> LocalBackend:
    return make(store=LeasedStore(store, held.check), check_lease=held.check)


def calls(backend: LocalBackend) -> Counter[str]:
    driver: Any = backend.driver
    return Counter(driver.calls)


def contents(store: ObservedStore) -> list[object]:
    return [*store.page(Volume).records, *store.page(Snapshot).records, *store.page(Attachment).records]


def what_is_left(
    backend: LocalBackend, store: ObservedStore, held: Held, method: str, operation: Callable[[], object]
) -> tuple[Counter[str], list[object]]:
    """The driver's calls and the records' changes since the lease was lost within `method`."""
    known: list[tuple[Counter[str], list[object]]] = []
    held.lose_after(backend, method)
    driver: Any = backend.driver
    lose = getattr(driver, method)

    def called(*arguments: Any, **named: Any) -> Any:
        answer = lose(*arguments, **named)
        known.append((calls(backend), contents(store)))
        return answer

    setattr(driver, method, called)
    with pytest.raises(LeaseLost):
        operation()
    ((made, records),) = known
    return calls(backend) - made, [record for record in contents(store) if record not in records]


@pytest.mark.parametrize("method", ["create_export", "initialize_connection"])
def test_an_attachment_is_neither_finished_nor_undone(
    backend: LocalBackend, store: ObservedStore, held: Held, method: str
) -> None:
    volume = backend.create_volume(makers.volume())
    attachment = makers.attachment(volume)
    left = what_is_left(backend, store, held, method, lambda: backend.connect(volume, attachment))
    assert left == (Counter(), [])
    (record,) = store.page(Attachment).records
    assert record.status is Status.CREATING


def test_a_detachment_stops(backend: LocalBackend, store: ObservedStore, held: Held) -> None:
    volume = backend.create_volume(makers.volume())
    attachment = backend.connect(volume, makers.attachment(volume))
    left = what_is_left(backend, store, held, "terminate_connection", lambda: backend.disconnect(attachment))
    assert left == (Counter(), [])
    assert [record.status for record in store.page(Attachment).records] == [Status.DELETING]


def test_a_creation_is_neither_finished_nor_undone(backend: LocalBackend, store: ObservedStore, held: Held) -> None:
    left = what_is_left(backend, store, held, "create_volume", lambda: backend.create_volume(makers.volume()))
    assert left == (Counter(), [])
    assert [record.status for record in store.page(Volume).records] == [Status.CREATING]


def test_the_record_of_a_deleted_volume_stays(backend: LocalBackend, store: ObservedStore, held: Held) -> None:
    volume = backend.create_volume(makers.volume())
    left = what_is_left(backend, store, held, "delete_volume", lambda: backend.delete_volume(volume))
    assert left == (Counter(), [])
    assert [record.status for record in store.page(Volume).records] == [Status.DELETING]


def test_a_back_end_is_not_started_once_the_lease_is_lost(make: MakeBackend, held: Held) -> None:
    held.lost = True
    backend = make(start=False, check_lease=held.check)
    with pytest.raises(LeaseLost):
        backend.start()
    assert backend.failure == "another process holds the lease"
    with pytest.raises(BackendUnavailable):
        _ = backend.driver
