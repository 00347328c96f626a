"""What is attached is exported again at a start, while calls are served and other controllers work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from csi_cinderlib.backend.backend import Backend
from csi_cinderlib.backend.runtime import Runtime
from csi_cinderlib.model.records import Attachment, Status, Volume
from tests.component.backend.conftest import MakeBackend
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore

INTERRUPTED = "tests.support.fakes.nothing.InterruptedDriver"

Meanwhile = list[Callable[[str], object]]


@pytest.fixture
def meanwhile(runtime: Runtime) -> Iterator[Meanwhile]:
    """What happens while InterruptedDriver exports a volume: called with its id."""
    from tests.support.fakes.nothing import InterruptedDriver  # Cinder is there only when the runtime has started

    yield InterruptedDriver.meanwhile
    InterruptedDriver.meanwhile.clear()


def driver(backend: Backend) -> Any:
    return backend.driver


def attached(backend: Backend, store: ObservedStore) -> tuple[Volume, Attachment]:
    volume = backend.create_volume(makers.volume(multiattach=True))
    made = backend.connect(volume, makers.attachment(volume))
    return store.get(Volume, volume.id), made


def test_a_start_exports_again_what_is_attached(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    volume, _ = attached(backend, store)
    backend.create_volume(makers.volume())
    backend.stop()
    assert driver(make()).exports == {volume.id}


def test_a_process_for_one_call_exports_nothing_again(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    attached(backend, store)
    backend.stop()
    assert driver(make(ensure_exports=False)).calls["ensure_export"] == 0


def test_one_export_that_fails_does_not_hold_up_the_start(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    attached(backend, store)
    backend.stop()
    assert make(nothing_fail=["ensure_export"]).ready


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_what_no_node_may_use_is_not_exported_again(make: MakeBackend, store: ObservedStore, status: Status) -> None:
    backend = make()
    _, made = attached(backend, store)
    store.replace(replace(made, status=status, owner="dead"))
    backend.stop()
    assert driver(make()).calls["ensure_export"] == 0


def test_what_was_taken_away_during_the_walk_is_not_exported_again(
    make: MakeBackend, store: ObservedStore, meanwhile: Meanwhile
) -> None:
    backend = make()
    by_volume = {volume.id: made for volume, made in (attached(backend, store) for _ in range(2))}
    backend.stop()

    def takes_the_other_away(id: str) -> None:
        for volume_id, made in by_volume.items():
            if volume_id != id:
                store.remove(made)

    meanwhile.append(takes_the_other_away)
    again = driver(make(driver=INTERRUPTED))
    assert again.calls["ensure_export"] == 1
    assert again.exports <= set(by_volume)
    assert len(again.exports) == 1


@pytest.mark.parametrize("is_done", [True, False])
def test_an_export_that_nobody_needs_any_more_when_it_is_there_goes_again(
    make: MakeBackend, store: ObservedStore, meanwhile: Meanwhile, *, is_done: bool
) -> None:
    backend = make()
    _, made = attached(backend, store)
    backend.stop()

    def another_controller_disconnects(_id: str) -> None:
        if is_done:
            store.remove(made)
        else:
            store.replace(replace(made, status=Status.DELETING, owner="another controller"))

    meanwhile.append(another_controller_disconnects)
    assert driver(make(driver=INTERRUPTED)).exports == set()


def test_a_disconnection_in_this_process_waits_until_the_export_is_there(
    make: MakeBackend, store: ObservedStore, meanwhile: Meanwhile
) -> None:
    backend = make()
    _, made = attached(backend, store)
    backend.stop()
    again = make(driver=INTERRUPTED, start=False)
    disconnection = threading.Thread(target=again.disconnect, args=(made,))
    waited = []

    def disconnects(_id: str) -> None:
        disconnection.start()
        disconnection.join(0.2)
        waited.append(disconnection.is_alive())

    meanwhile.append(disconnects)
    again.start()
    disconnection.join()
    assert waited == [True]
    assert driver(again).exports == set()
    assert store.page(Attachment).records == ()
