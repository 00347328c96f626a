"""What is attached is exported again after a start, while calls are served and other controllers work."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.cinder import loading
from csi_cinderlib.cinder.exports import WORKERS, Exports
from csi_cinderlib.cinder.runtime import Runtime
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import BackendError, StoreUnavailable
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.model.records import Attachment, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

INTERRUPTED = "tests.support.fakes.nothing.InterruptedDriver"
HANG = 60
"""Seconds."""

Meanwhile = list[Callable[[str], object]]


@pytest.fixture
def meanwhile(runtime: Runtime) -> Iterator[Meanwhile]:
    """What happens while InterruptedDriver exports a volume: called with its id."""
    from tests.support.fakes.nothing import InterruptedDriver  # Cinder is there only when the runtime has started

    yield InterruptedDriver.meanwhile
    InterruptedDriver.meanwhile.clear()


def driver(backend: LocalBackend) -> Any:
    return backend.driver


def exported(backend: LocalBackend) -> Any:
    """The driver, once the walk is over."""
    backend.wait_for_exports()
    return driver(backend)


def attached(backend: LocalBackend, store: ObservedStore) -> tuple[Volume, Attachment]:
    volume = backend.create_volume(makers.volume(multiattach=True))
    made = backend.connect(volume, makers.attachment(volume))
    return store.get(Volume, volume.id), made


def test_a_start_exports_again_what_is_attached(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    volume, _ = attached(backend, store)
    backend.create_volume(makers.volume())
    backend.stop()
    assert exported(make()).exports == {volume.id}


def test_a_process_for_one_call_exports_nothing_again(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    attached(backend, store)
    backend.stop()
    assert exported(make(ensure_exports=False)).calls["ensure_export"] == 0


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.ERROR])
def test_what_no_node_may_use_is_not_exported_again(make: MakeBackend, store: ObservedStore, status: Status) -> None:
    backend = make()
    _, made = attached(backend, store)
    store.replace(replace(made, status=status, owner="dead"))
    backend.stop()
    assert exported(make()).calls["ensure_export"] == 0


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
    again = exported(make(driver=INTERRUPTED, max_concurrent_calls=2))  # so that one volume is exported after the other
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
    assert exported(make(driver=INTERRUPTED)).exports == set()


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
    again.wait_for_exports()
    disconnection.join()
    assert waited == [True]
    assert driver(again).calls["ensure_export"] == 1
    assert driver(again).exports == set()
    assert store.page(Attachment).records == ()


@dataclass
class Walk:
    """The exports of a start; each hangs until the test lets it go on. Those of live calls do not."""

    begun: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, id: str) -> None:
        if threading.current_thread().name.startswith("export-"):
            self.begun.append(id)
            assert self.released.wait(2 * HANG)

    def has_begun(self, count: int) -> bool:
        """Whether so many exports, and no more, run at one time."""
        deadline = time.monotonic() + HANG
        while len(self.begun) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1)
        return len(self.begun) == count


@pytest.fixture
def walk(meanwhile: Meanwhile) -> Iterator[Walk]:
    held = Walk()
    meanwhile.append(held)
    yield held
    held.released.set()


def attached_before(make: MakeBackend, store: ObservedStore, count: int) -> list[tuple[Volume, Attachment]]:
    """Volumes that were attached before the back end stopped."""
    backend = make()
    made = [attached(backend, store) for _ in range(count)]
    backend.stop()
    return made


def test_a_back_end_is_ready_before_it_has_exported_anything_again(
    make: MakeBackend, store: ObservedStore, walk: Walk
) -> None:
    attached_before(make, store, 1)
    backend = make(driver=INTERRUPTED, walked=False)
    assert backend.ready
    assert driver(backend).exports == set()
    walk.released.set()
    assert len(exported(backend).exports) == 1


def test_several_volumes_but_not_all_are_exported_at_one_time(
    make: MakeBackend, store: ObservedStore, walk: Walk
) -> None:
    attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False)
    assert walk.has_begun(WORKERS)
    walk.released.set()
    assert len(exported(backend).exports) == 2 * WORKERS


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (4, 2), (100, WORKERS)])
def test_a_walk_leaves_half_of_the_slots_to_live_calls(
    make: MakeBackend, store: ObservedStore, walk: Walk, limit: int, most: int
) -> None:
    attached_before(make, store, 2 * WORKERS)
    make(driver=INTERRUPTED, walked=False, max_concurrent_calls=limit)
    assert walk.has_begun(most)


def test_a_detached_volume_is_exported_before_its_connection_is_taken_away(
    make: MakeBackend, store: ObservedStore, walk: Walk, tmp_path: Path
) -> None:
    made = attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False, nothing_journal=str(tmp_path / "journal"))
    assert walk.has_begun(WORKERS)
    volume, attachment = next(one for one in made if one[0].id not in walk.begun)
    backend.disconnect(attachment)
    calls = [line.split()[0] for line in (tmp_path / "journal").read_text().splitlines() if volume.id in line]
    assert calls == ["ensure_export", "terminate_connection", "remove_export"]
    walk.released.set()
    assert volume.id not in exported(backend).exports


def test_a_volume_that_is_published_again_is_exported_first(
    make: MakeBackend, store: ObservedStore, walk: Walk
) -> None:
    made = attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False)
    assert walk.has_begun(WORKERS)
    volume, attachment = next(one for one in made if one[0].id not in walk.begun)
    assert backend.connect(volume, attachment) == attachment
    assert driver(backend).exports == {volume.id}
    walk.released.set()
    assert exported(backend).calls["ensure_export"] == 2 * WORKERS


def test_a_volume_that_another_controller_deletes_before_its_turn_is_left_out(
    make: MakeBackend, store: ObservedStore, walk: Walk, log: io.StringIO
) -> None:
    made = attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False)
    assert walk.has_begun(WORKERS)
    volume, attachment = next(one for one in made if one[0].id not in walk.begun)
    store.remove(attachment)
    store.remove(store.get(Volume, volume.id))
    walk.released.set()
    assert exported(backend).exports == {one.id for one, _ in made} - {volume.id}
    assert "re-export failed" not in log.getvalue()


def test_a_volume_deleted_before_its_turn_is_not_exported(make: MakeBackend, store: ObservedStore, walk: Walk) -> None:
    made = attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False)
    assert walk.has_begun(WORKERS)
    volume, attachment = next(one for one in made if one[0].id not in walk.begun)
    backend.disconnect(attachment)
    backend.delete_volume(store.get(Volume, volume.id))
    walk.released.set()
    assert exported(backend).exports == {one.id for one, _ in made} - {volume.id}


def test_the_walk_ends_with_its_back_end(make: MakeBackend, store: ObservedStore, walk: Walk) -> None:
    attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False)
    assert walk.has_begun(WORKERS)
    waiting = threading.Thread(target=backend.wait_for_exports)
    waiting.start()
    backend.stop()
    waiting.join(HANG)
    assert not waiting.is_alive()
    walk.released.set()
    assert walk.has_begun(WORKERS)


def test_a_walk_that_is_left_to_another_process_ends_and_calls_go_on(
    make: MakeBackend, store: ObservedStore, walk: Walk
) -> None:
    made = attached_before(make, store, 2 * WORKERS)
    backend = make(driver=INTERRUPTED, walked=False)
    assert walk.has_begun(WORKERS)
    backend.verbs.leave_exports()
    walk.released.set()
    assert walk.has_begun(WORKERS)
    volume, attachment = next(one for one in made if one[0].id not in walk.begun)
    backend.connect(volume, attachment)
    for thread in threading.enumerate():
        if thread.name == f"exports-{backend.name}":
            thread.join(HANG)
    assert driver(backend).exports == {*walk.begun, volume.id}


def test_an_export_that_fails_does_not_stop_the_others(
    make: MakeBackend, store: ObservedStore, log: io.StringIO
) -> None:
    attached_before(make, store, 3)
    backend = make(nothing_fail=["ensure_export:1"])
    assert len(exported(backend).exports) == 2
    assert backend.ready
    assert log.getvalue().count("re-export failed") == 1
    assert "attached volumes not re-exported" in log.getvalue()


def test_an_export_that_failed_is_tried_again(make: MakeBackend, store: ObservedStore, log: io.StringIO) -> None:
    attached_before(make, store, 3)
    backend = make(ensure_exports=False, nothing_fail=["ensure_export:1", "ensure_export:4"])
    exports = Exports(backend.verbs._engine, driver(backend), pause=0.01)
    exports.start()
    for thread in threading.enumerate():
        if thread.name == f"exports-{backend.name}":
            thread.join(HANG)
    assert len(driver(backend).exports) == 3
    assert driver(backend).calls["ensure_export"] == 5
    assert log.getvalue().count("re-export failed") == 1  # the second time it is the same volume


def test_a_list_of_attachments_that_cannot_be_read_is_read_again(make: MakeBackend, store: ObservedStore) -> None:
    attached_before(make, store, 1)
    backend = make(ensure_exports=False)

    def fail(_kind: object) -> None:
        raise StoreUnavailable("the database is away")

    store.before["page"] = fail
    exports = Exports(backend.verbs._engine, driver(backend), pause=0.01)
    exports.start()
    for thread in threading.enumerate():
        if thread.name == f"exports-{backend.name}":
            thread.join(HANG)
    assert len(driver(backend).exports) == 1


def test_an_attachment_that_cannot_be_read_does_not_cut_off_another(
    make: MakeBackend, store: ObservedStore, walk: Walk
) -> None:
    [(volume, attachment)] = attached_before(make, store, 1)
    unreadable = store.add(replace(attachment, id="unreadable"))
    store._tables[Attachment].rows[unreadable.id].content = "{"
    backend = make(driver=INTERRUPTED, walked=False)
    walk.released.set()
    assert exported(backend).exports == {volume.id}
    assert backend.connect(volume, attachment) == attachment
    assert driver(backend).calls["ensure_export"] == 1


def test_a_publication_fails_when_its_volume_cannot_be_exported_again(
    make: MakeBackend, store: ObservedStore, log: io.StringIO
) -> None:
    [(volume, attachment)] = attached_before(make, store, 1)
    backend = make(nothing_fail=["ensure_export"])
    with pytest.raises(BackendError, match="the array says no"):
        backend.connect(volume, attachment)
    backend.disconnect(attachment)
    assert "volume export failed before detach" in log.getvalue()
    assert store.page(Attachment).records == ()


def test_nothing_is_walked_for_a_driver_whose_export_does_nothing(make: MakeBackend, store: ObservedStore) -> None:
    attached_before(make, store, 3)
    store.calls.clear()
    make(driver="tests.support.fakes.nothing.MappingDriver").wait_for_exports()
    assert store.calls.count("page") == 1  # whether the back end holds any volume


@pytest.mark.parametrize(
    ("path", "does_something"),
    [
        ("cinder.volume.drivers.rbd.RBDDriver", False),
        ("cinder.volume.drivers.pure.PureISCSIDriver", False),
        ("cinder.volume.drivers.lvm.LVMVolumeDriver", True),
        ("cinder.volume.drivers.nfs.NfsDriver", True),
    ],
)
def test_which_drivers_export_at_a_start(runtime: Runtime, path: str, *, does_something: bool) -> None:
    cls = loading.driver_class(BackendSettings(name="one", driver=path))
    assert loading.exports_at_start(object.__new__(cls)) == does_something
