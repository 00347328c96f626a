"""A back end as a whole: its start, its report, its neighbours."""

from __future__ import annotations

import errno
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_cinderlib.errors import BackendUnavailable, ConfigurationError, HostError
from csi_cinderlib.lifecycle.local import LocalBackend
from csi_cinderlib.lifecycle.reports import Reports
from csi_cinderlib.model.records import FOREIGN, Provider, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend
from tests.support.repeating import until

LEGACY = "tests.support.fakes.legacy.LegacyDriver"
RENUMBERING = "tests.support.fakes.nothing.RenumberingDriver"


def calls(backend: LocalBackend, method: str) -> int:
    driver: Any = backend.driver
    return int(driver.calls[method])


def test_a_start_that_failed_says_why_and_may_be_tried_again(make: MakeBackend) -> None:
    backend = make(start=False, nothing_fail=["check_for_setup_error"])
    assert (backend.ready, backend.failure) == (False, "not started")
    with pytest.raises(BackendUnavailable, match="set-up failed: the array says no"):
        backend.start()
    assert not backend.ready
    assert "the array says no" in backend.failure


def test_an_array_that_comes_up_later_is_started_then(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(start=False)
    store.page = None  # type: ignore[method-assign, assignment]  # the store is away
    with pytest.raises(TypeError):
        backend.start()
    del store.page  # and comes back
    backend.start()
    assert (backend.ready, backend.failure) == (True, "")


def test_a_start_may_be_tried_again_after_the_host_had_no_room_for_it(make: MakeBackend, store: ObservedStore) -> None:
    def fail(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    backend = make(start=False)
    store.before["page"] = fail
    with pytest.raises(HostError, match=r"^cannot start back end 'fake': No space left on device$"):
        backend.start()
    assert "No space left on device" in backend.failure
    backend.start()
    assert (backend.ready, backend.failure) == (True, "")


def test_a_stopped_back_end_refuses_and_can_be_started_again(backend: LocalBackend) -> None:
    backend.stop()
    assert (backend.ready, backend.failure) == (False, "stopped")
    with pytest.raises(BackendUnavailable):
        backend.stats()
    backend.start()
    assert backend.ready


def test_an_option_that_is_missing_is_looked_for_among_those_without_a_value(make: MakeBackend) -> None:
    with pytest.raises(ConfigurationError, match=r"options not set: .*nothing_password"):
        make(nothing_fail=["do_setup"], nothing_exception="InvalidInput")


def test_back_ends_can_start_side_by_side(make: MakeBackend) -> None:
    backends = [make(f"array{number}", start=False, nothing_delay=0.01) for number in range(6)]
    threads = [threading.Thread(target=one.start) for one in backends]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert all(one.ready for one in backends)
    assert {one.driver.host for one in backends} == {f"csi-cinderlib@array{number}" for number in range(6)}


def test_a_call_in_the_moment_in_which_the_driver_becomes_ready_is_served(make: MakeBackend) -> None:
    backend = make(start=False)
    start, called = backend.verbs.start, list[object]()
    caller = threading.Thread(target=lambda: called.append(backend.create_volume(makers.volume()).status))

    def begin() -> object:
        started = start()
        caller.start()
        caller.join(0.2)
        return started

    backend.verbs.start = begin  # type: ignore[method-assign,assignment]  # watched
    backend.start()
    caller.join()
    assert called == [Status.AVAILABLE]


def test_the_report_is_asked_for_once_in_a_while(make: MakeBackend) -> None:
    patient, hasty = make("patient"), make("hasty", stats_seconds=0)
    at_start = calls(patient, "get_volume_stats")
    for one in (patient, hasty):
        one.stats()
        one.stats()
    assert (calls(patient, "get_volume_stats"), calls(hasty, "get_volume_stats")) == (at_start, at_start + 2)
    patient.stats(refresh=True)
    assert calls(patient, "get_volume_stats") == at_start + 1


def test_many_callers_make_one_request_to_the_array(make: MakeBackend, tmp_path: Path) -> None:
    backend = make(nothing_held=str(tmp_path / "held"))
    driver: Any = backend.driver
    at_start = calls(backend, "get_volume_stats")
    (tmp_path / "held").touch()
    threads = [threading.Thread(target=backend.stats, kwargs={"refresh": True}, daemon=True) for _ in range(10)]
    try:
        for one in threads:
            one.start()
        until(lambda: driver.delayed and all(asks_for_a_report(one) for one in threads))
    finally:
        (tmp_path / "held").unlink()
    for one in threads:
        one.join()
    assert calls(backend, "get_volume_stats") == at_start + 1


def asks_for_a_report(thread: threading.Thread) -> bool:
    """Whether it has begun to, and so does with an answer to somebody else that comes from now on."""
    frames = (frame for frame, _ in traceback.walk_stack(sys._current_frames()[thread.ident or 0]))
    return any(frame.f_code is Reports.stats.__code__ and "before" in frame.f_locals for frame in frames)


def test_a_caller_that_waited_for_a_report_in_vain_is_told(backend: LocalBackend) -> None:
    """The first question fails while a second caller waits for its answer: there is no new report for either."""
    asked, answer = threading.Event(), threading.Event()
    questions: list[bool] = []

    def fail(refresh: bool) -> None:
        questions.append(refresh)
        asked.set()
        answer.wait(60)
        raise TimeoutError("no response")

    driver: Any = backend.driver
    driver.get_volume_stats = fail
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(backend.stats, refresh=True)
        assert asked.wait(60)
        second = pool.submit(backend.stats, refresh=True)
        time.sleep(0.1)  # it waits for the first caller, and nothing shows that
        answer.set()
        assert isinstance(first.exception(), BackendUnavailable)
        assert isinstance(second.exception(), BackendUnavailable)
    assert questions == [True, True]


def test_what_is_created_is_taken_from_the_report_at_once(backend: LocalBackend) -> None:
    before = backend.stats().pools[0]
    asked = calls(backend, "get_volume_stats")
    volume = backend.create_volume(makers.volume(size=7))
    assert before.free is not None
    assert backend.stats().pools[0].free == before.free - 7
    backend.delete_volume(volume)
    assert backend.stats().pools[0].free == before.free
    assert calls(backend, "get_volume_stats") == asked


def test_what_is_in_the_report_of_a_new_start_is_not_taken_from_it_again(backend: LocalBackend) -> None:
    reported = backend.stats().pools[0].free
    backend.create_volume(makers.volume(size=7))
    backend.stop()
    backend.start()
    assert backend.stats().pools[0].free == reported


def test_what_was_never_created_is_not_given_back_to_the_report(backend: LocalBackend, store: ObservedStore) -> None:
    before = backend.stats().pools[0].provisioned
    backend.delete_volume(store.add(replace(makers.volume(size=7), status=Status.ERROR)))
    volume = backend.create_volume(makers.volume(size=5))
    backend.delete_volume(volume)
    backend.delete_volume(volume)
    assert backend.stats().pools[0].provisioned == before


def test_what_is_created_while_the_driver_reports_is_not_forgotten(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver: Any = backend.driver
    original = driver.get_volume_stats

    def report(*arguments: Any, **named: Any) -> Any:
        answer = original(*arguments, **named)
        backend.create_volume(makers.volume(size=7))
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(driver, "get_volume_stats", report)
        before = backend.stats(refresh=True).pools[0]
    assert before.provisioned == 7
    assert backend.stats(refresh=True).pools[0].provisioned == 7


def test_a_driver_that_does_not_count_its_volumes_has_them_counted(make: MakeBackend) -> None:
    backend = make(driver=LEGACY)
    volume = backend.create_volume(makers.volume(size=5))
    backend.create_volume(makers.volume(size=2))
    assert backend.stats(refresh=True).pools[0].allocated == 7
    backend.stop()
    backend.start()
    assert backend.stats().pools[0].allocated == 7
    backend.delete_volume(volume)
    assert backend.stats(refresh=True).pools[0].allocated == 2


def test_capabilities_come_from_the_class_and_the_report(make: MakeBackend) -> None:
    able = make("able").capabilities
    assert (able.multiattach, able.thin, able.qos, able.revert, able.group_snapshots) == (True, True, True, True, False)
    old = make("old", driver=LEGACY).capabilities
    assert (old.multiattach, old.thin, old.qos, old.revert, old.online_extend) == (False, False, True, False, True)
    groups = make("groups", driver="tests.support.fakes.nothing.GroupDriver").capabilities
    assert (groups.group_snapshots, groups.consistent_group_snapshots) == (True, True)


def test_ids_that_a_driver_corrects_at_the_start_are_kept(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    volume = backend.create_volume(makers.volume())
    fresh = backend.create_snapshot(makers.snapshot(volume))
    known = backend.create_snapshot(makers.snapshot(volume))
    store.replace(replace(known, provider=Provider(id="old")))
    backend.stop()
    make(driver=RENUMBERING)
    assert store.get(Volume, volume.id).provider.id == f"new-volume-{volume.id}"
    assert store.get(Snapshot, fresh.id).provider.id == f"new-snapshot-{fresh.id}"
    assert store.get(Snapshot, known.id).provider.id == "old"


@pytest.mark.parametrize("status", FOREIGN)
def test_ids_of_objects_that_belong_to_cinder_are_not_corrected(
    make: MakeBackend, store: ObservedStore, status: Status
) -> None:
    backend = make()
    volume = backend.create_volume(makers.volume())
    taken = backend.create_snapshot(makers.snapshot(volume))
    foreign = store.replace(replace(store.get(Volume, volume.id), status=status))
    snapshot = store.replace(replace(taken, status=status))
    backend.stop()
    make(driver=RENUMBERING)
    assert store.get(Volume, volume.id) == foreign
    assert store.get(Snapshot, taken.id) == snapshot


def test_a_driver_is_asked_for_new_ids_without_a_query_for_each_volume(make: MakeBackend, store: ObservedStore) -> None:
    backend = make()
    for _ in range(20):
        volume = backend.create_volume(makers.volume())
        backend.connect(volume, makers.attachment(volume))
        backend.create_snapshot(makers.snapshot(volume))
    backend.stop()
    store.calls.clear()
    make(driver=RENUMBERING, ensure_exports=False)
    kinds = 4  # a look at whether there is a volume; then attachments, volumes, snapshots
    assert (store.calls.count("page"), store.calls.count("get")) == (kinds, 0)


def test_drivers_without_such_ids_are_not_bothered_with_all_volumes(make: MakeBackend, store: ObservedStore) -> None:
    from csi_cinderlib.cinder import loading

    backend = make()
    assert not loading.overrides(backend.driver, "update_provider_info")
    assert loading.overrides(make("other", driver=RENUMBERING).driver, "update_provider_info")
