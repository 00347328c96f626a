"""Two processes on one store: nobody gets a volume, or changes it, while another process brings it back to a snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from csi_cinderlib.errors import BackendError, InUse, OperationPending, StoreUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.watching import failing, observe


@pytest.fixture
def here(make: MakeBackend) -> LocalBackend:
    return make("fake", owner="here", is_alive=lambda _owner: True)


@pytest.fixture
def there(make: MakeBackend) -> LocalBackend:
    return make("fake", owner="there", is_alive=lambda _owner: True)


@pytest.fixture
def volume(here: LocalBackend) -> Volume:
    return here.create_volume(makers.volume())


@pytest.fixture
def snapshot(here: LocalBackend, volume: Volume) -> Snapshot:
    return here.create_snapshot(makers.snapshot(volume))


CALLS: dict[str, Callable[[LocalBackend, Volume, Snapshot], object]] = {
    "connect": lambda backend, volume, _: backend.connect(volume, makers.attachment(volume)),
    "extend": lambda backend, volume, _: backend.extend_volume(volume, GiB(2)),
    "revert": lambda backend, volume, snapshot: backend.revert_volume(volume, snapshot),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_another_process_reverts_is_left_to_it(
    here: LocalBackend, there: LocalBackend, volume: Volume, snapshot: Snapshot, store: ObservedStore, name: str
) -> None:
    outcome: list[Exception] = []

    def meanwhile(*_arguments: object) -> None:
        try:
            CALLS[name](there, store.get(Volume, volume.id), snapshot)
        except Exception as error:
            outcome.append(error)

    observe(here.driver, "revert_to_snapshot", meanwhile)
    here.revert_volume(store.get(Volume, volume.id), snapshot)
    assert [type(error) for error in outcome] == [OperationPending]
    assert store.page(Attachment).records == ()
    after = store.get(Volume, volume.id)
    assert (after.status, after.size, after.owner, after.message) == (Status.AVAILABLE, 1, "", "")
    CALLS[name](there, after, snapshot)


def test_a_volume_that_was_attached_since_it_was_looked_at_is_not_reverted(
    here: LocalBackend, there: LocalBackend, volume: Volume, snapshot: Snapshot, store: ObservedStore
) -> None:
    was = store.get(Volume, volume.id)
    there.connect(was, makers.attachment(was))
    with pytest.raises(InUse):
        here.revert_volume(was, snapshot)
    assert here.driver.calls["revert_to_snapshot"] == 0
    after = store.get(Volume, volume.id)
    assert (after.owner, after.message) == ("", "")


def test_a_revert_that_failed_says_so_and_holds_nobody_up(
    here: LocalBackend, there: LocalBackend, volume: Volume, snapshot: Snapshot, store: ObservedStore
) -> None:
    failing(here.driver, "revert_to_snapshot", RuntimeError("half of it is done"))
    with pytest.raises(BackendError, match="half of it"):
        here.revert_volume(store.get(Volume, volume.id), snapshot)
    after = store.get(Volume, volume.id)
    assert after.owner == ""
    assert after.message == f"being reverted to {snapshot.id}"
    there.connect(after, makers.attachment(after))


def test_threads_of_one_process_exclude_each_other_as_well(
    here: LocalBackend, volume: Volume, snapshot: Snapshot, store: ObservedStore
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_arguments: Any) -> None:
        begun.set()
        assert go_on.wait(60)

    observe(here.driver, "revert_to_snapshot", slow)
    reverting = threading.Thread(target=here.revert_volume, args=(store.get(Volume, volume.id), snapshot))
    reverting.start()
    assert begun.wait(60)
    try:
        current = store.get(Volume, volume.id)
        with pytest.raises(OperationPending):
            here.connect(current, makers.attachment(current))
    finally:
        go_on.set()
        reverting.join()
    assert store.page(Attachment).records == ()


@pytest.mark.parametrize("fails", [True, False], ids=["driver fails", "driver succeeds"])
def test_a_store_that_fails_at_the_end_of_a_revert_holds_nobody_up_for_ever(
    here: LocalBackend,
    volume: Volume,
    snapshot: Snapshot,
    store: ObservedStore,
    fails: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = here.driver.revert_to_snapshot

    def lose_store(*arguments: Any) -> None:
        def fail(*_arguments: object) -> None:
            raise StoreUnavailable("it is gone")

        monkeypatch.setattr(store, "replace", fail)
        original(*arguments)
        if fails:
            raise RuntimeError("half of it is done")

    monkeypatch.setattr(here.driver, "revert_to_snapshot", lose_store)
    expected, says = (BackendError, "half of it") if fails else (StoreUnavailable, "it is gone")
    with pytest.raises(expected, match=says):
        here.revert_volume(store.get(Volume, volume.id), snapshot)
    monkeypatch.undo()
    after = store.get(Volume, volume.id)
    assert after.owner == "here"
    here.connect(after, makers.attachment(after))
