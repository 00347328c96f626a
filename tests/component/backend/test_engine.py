"""What every operation of a back end relies on: whose record it is, and that records are written on top of others' changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from csi_cinderlib.backend.engine import Engine
from csi_cinderlib.config.settings import BackendSettings
from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    CorruptRecord,
    InUse,
    LeaseLost,
    OperationPending,
    StaleRecord,
    StoreUnavailable,
)
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.persistence.lease import unshared
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore, touch

UNFINISHED = [status for status in Status if status is not Status.AVAILABLE]


class Calls:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    @contextmanager
    def backend_call(self, backend: str, method: str) -> Iterator[None]:
        self.seen.append((backend, method))
        yield


@pytest.fixture
def meter() -> Any:
    return Calls()


@pytest.fixture
def engine(store: ObservedStore, meter: Any) -> Engine:
    runtime: Any = SimpleNamespace(host="here")  # a record needs no Cinder
    return Engine(
        BackendSettings(name="fake", driver="none"),
        store=store,
        runtime=runtime,
        owner="me",
        clock=lambda: datetime(2026, 5, 1, tzinfo=UTC),
        is_alive=lambda owner: owner != "dead",  # also itself, and nobody
        check_lease=unshared,
        meter=meter,
    )


def records() -> list[Any]:
    volume = makers.volume()
    group = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    return [volume, makers.snapshot(volume), makers.attachment(volume), group]


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("record", records())
def test_what_another_living_process_works_on_is_refused(engine: Engine, record: Any, status: Status) -> None:
    kind = type(record).__name__.lower()
    with pytest.raises(OperationPending, match=rf"^'living' is at work on {kind} '{record.id}' \({status}\)$"):
        engine.claim(replace(record, status=status, owner="living"))


@pytest.mark.parametrize("owner", ["", "me", "dead"])
@pytest.mark.parametrize("status", UNFINISHED)
def test_what_nobody_else_works_on_is_taken(engine: Engine, owner: str, status: Status) -> None:
    engine.claim(replace(makers.volume(), status=status, owner=owner))


def test_what_another_process_reverts_is_left_to_it(engine: Engine) -> None:
    with pytest.raises(OperationPending, match="is at work on volume"):
        engine.claim(replace(makers.volume(), status=Status.AVAILABLE, owner="living"))


def test_an_intent_is_written_with_its_owner_and_without_an_old_message(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), status=Status.ERROR, owner="dead", message="the array was full"))
    intended = engine.intend(record, Status.DELETING, unfinished=True)
    assert (intended.status, intended.owner, intended.message, intended.unfinished) == (Status.DELETING, "me", "", True)
    assert store.get(Volume, record.id) == intended


def test_an_intent_that_is_there_already_is_not_written_again(engine: Engine, store: ObservedStore) -> None:
    record = engine.intend(store.add(makers.volume()), Status.DELETING)
    store.calls.clear()
    assert engine.intend(record, Status.DELETING) is record
    assert store.calls == []


def test_no_intent_is_written_over_a_living_process_or_a_changed_record(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="living"))
    with pytest.raises(OperationPending):
        engine.intend(record, Status.DELETING)
    assert store.get(Volume, record.id) == record
    changed = touch(store, record)
    with pytest.raises(StaleRecord):
        engine.intend(replace(record, owner=""), Status.DELETING)
    assert store.get(Volume, record.id) == changed


def test_ones_own_intent_is_known_by_status_and_owner(engine: Engine) -> None:
    own = replace(makers.volume(), status=Status.CREATING, owner="me")
    engine.check_own(own, Status.CREATING)
    for other in (replace(own, owner="living"), replace(own, owner=""), replace(own, status=Status.DELETING)):
        with pytest.raises(StaleRecord, match=own.id):
            engine.check_own(other, Status.CREATING)


@pytest.mark.parametrize(
    ("status", "owner", "taken"),
    [
        (Status.CREATING, "me", False),
        (Status.CREATING, "other", True),
        (Status.AVAILABLE, "", True),
        (Status.ERROR, "other", True),
        (Status.DELETING, "me", False),
        (Status.DELETING, "other", False),
    ],
)
def test_what_another_process_carries_on_with_is_taken_over(
    engine: Engine, store: ObservedStore, status: Status, owner: str, taken: bool
) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    store.replace(replace(record, status=status, owner=owner))
    assert engine.is_taken_over(record) is taken


def test_what_is_gone_is_taken_over_by_nobody(engine: Engine) -> None:
    assert not engine.is_taken_over(makers.volume())


def test_a_record_is_removed_however_often_it_changes(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    touch(store, record)
    store.before["remove"] = lambda _record: touch(store, record)
    assert engine.remove(record)
    assert store.page(Volume).records == ()
    assert not engine.remove(record)


def test_a_record_that_another_process_has_taken_over_is_not_removed(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    taken_over = store.replace(replace(record, owner="other"))
    with pytest.raises(StaleRecord):
        engine.remove(record)
    assert store.page(Volume).records == (taken_over,)
    store.replace(replace(taken_over, status=Status.DELETING))
    assert engine.remove(record), "the other process wants it gone, too"


def test_a_record_that_is_gone_when_it_is_read_again_was_removed_by_another(
    engine: Engine, store: ObservedStore
) -> None:
    record = store.add(makers.volume())
    touch(store, record)
    store.before["get"] = lambda _id: store.remove(store.page(Volume).records[0])
    assert not engine.remove(record)


def test_a_record_that_never_stops_changing_is_not_called_removed(engine: Engine, store: ObservedStore) -> None:
    record = store.add(makers.volume())

    def change(_record: object) -> None:
        touch(store, record)
        store.before["remove"] = change

    change(record)
    with pytest.raises(StaleRecord, match=record.id):
        engine.remove(record)


def test_a_note_keeps_what_others_changed_meanwhile(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    touch(store, record)
    engine.note(record, Status.ERROR, "it failed", owner="")
    noted = store.get(Volume, record.id)
    assert (noted.status, noted.message, noted.owner, noted.labels) == (
        Status.ERROR,
        "it failed",
        "",
        {"touched": "yes"},
    )


def unavailable(_record: object) -> None:
    raise StoreUnavailable("the database is away")


def test_a_note_that_cannot_be_stored_hides_no_other_error(
    engine: Engine, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    record = store.add(makers.volume())
    store.before["replace"] = unavailable
    engine.note(record, Status.ERROR, "it failed")
    assert "it failed" in caplog.text
    assert "the database is away" in caplog.text


def test_what_stays_on_the_back_end_keeps_its_record(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    engine.leave(record, "it could not be deleted")
    left = store.get(Volume, record.id)
    assert (left.status, left.message) == (Status.ERROR, "it could not be deleted")


def test_what_stays_on_the_back_end_gets_its_record_back(engine: Engine, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    store.remove(record)
    engine.leave(record, "it could not be deleted")
    left = store.get(Volume, record.id)
    assert (left.status, left.message, left.owner) == (Status.ERROR, "it could not be deleted", "")


def test_a_record_that_cannot_be_given_back_is_at_least_in_the_log(
    engine: Engine, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.before["add"] = unavailable
    record = makers.volume()
    engine.leave(record, "it could not be deleted")
    assert record.id in caplog.text
    assert "it could not be deleted" in caplog.text


def test_a_volume_has_the_snapshots_and_attachments_that_the_store_knows(engine: Engine, store: ObservedStore) -> None:
    volume, other = store.add(makers.volume()), store.add(makers.volume())
    engine.refuse_snapshots(volume.id)
    assert engine.attachments(volume.id) == ()
    store.add(makers.snapshot(volume))
    attachment = store.add(makers.attachment(volume))
    with pytest.raises(InUse, match=f"volume '{volume.id}' has snapshots"):
        engine.refuse_snapshots(volume.id)
    assert engine.attachments(volume.id) == (attachment,)
    engine.refuse_snapshots(other.id)
    assert engine.attachments(other.id) == ()


@pytest.mark.parametrize(("independent", "error"), [(False, InUse), (True, CorruptRecord)])
def test_a_snapshot_that_cannot_be_read_keeps_its_volume(
    engine: Engine, store: ObservedStore, independent: bool, error: type[Exception]
) -> None:
    engine.driver = SimpleNamespace(SNAPSHOTS_ARE_INDEPENDENT=independent)
    volume = store.add(makers.volume())
    store._put_raw(Snapshot, "broken", "1-x", f'{{"volume_id": "{volume.id}"}}')
    with pytest.raises(error):
        engine.refuse_snapshots(volume.id)


@pytest.mark.parametrize("status", Status)
def test_an_independent_snapshot_keeps_its_volume_only_while_it_is_not_finished(
    engine: Engine, store: ObservedStore, status: Status
) -> None:
    engine.driver = SimpleNamespace(SNAPSHOTS_ARE_INDEPENDENT=True)
    volume = store.add(makers.volume())
    snapshot = store.add(replace(makers.snapshot(volume), status=status))
    if status in (Status.CREATING, Status.ERROR):
        with pytest.raises(InUse, match=f"snapshot '{snapshot.id}' of volume '{volume.id}' is not finished"):
            engine.refuse_snapshots(volume.id)
    else:
        engine.refuse_snapshots(volume.id)


@pytest.mark.parametrize("status", [Status.CREATING, Status.ERROR, Status.AVAILABLE, Status.DELETING, None])
def test_a_member_keeps_its_volume_as_long_as_its_group_snapshot_may_be_taken_anew(
    engine: Engine, store: ObservedStore, status: Status | None
) -> None:
    engine.driver = SimpleNamespace(SNAPSHOTS_ARE_INDEPENDENT=True)
    volume = store.add(makers.volume())
    if status is not None:
        store.add(GroupSnapshot(id="g", backend=volume.backend, status=status))
    store.add(replace(makers.snapshot(volume), status=Status.AVAILABLE, group_snapshot_id="g"))
    if status in (Status.CREATING, Status.ERROR):
        with pytest.raises(InUse, match="is not finished"):
            engine.refuse_snapshots(volume.id)
    else:
        engine.refuse_snapshots(volume.id)


def test_calls_are_measured_by_the_name_of_the_method(engine: Engine, meter: Calls) -> None:
    def create_volume() -> str:
        return "done"

    assert engine.call(engine.work(), create_volume) == "done"
    assert engine.call(engine.work(), partial(create_volume)) == "done"
    assert engine.call_quietly(engine.work(), create_volume) == "done"
    assert meter.seen == [("fake", "create_volume"), ("fake", "call")]


def test_no_driver_is_called_once_the_lease_is_lost(engine: Engine, meter: Calls) -> None:
    calls: list[str] = []

    def lost() -> None:
        raise LeaseLost("gone")

    engine.call(engine.work(), calls.append, "first")
    engine.check_lease = lost
    with pytest.raises(LeaseLost, match=r"^gone$"):
        engine.call(engine.work(), calls.append, "second")
    with pytest.raises(LeaseLost):
        engine.ask(engine.work(), calls.append, "third")
    assert calls == ["first"]


def test_the_lease_is_checked_after_the_wait_for_a_slot(engine: Engine) -> None:
    calls: list[str] = []
    busy, go_on = threading.Event(), threading.Event()

    def occupy() -> None:
        busy.set()
        go_on.wait(60)

    def lost() -> None:
        raise LeaseLost("gone")

    engine.limit(1)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(engine.call, engine.work(), occupy)
        busy.wait(60)
        waiting = pool.submit(engine.call, engine.work(), calls.append, "late")
        engine.check_lease = lost
        go_on.set()
        assert running.result() is None
        assert isinstance(waiting.exception(), LeaseLost)
    assert calls == []


def test_a_driver_may_answer_a_dictionary_or_nothing(engine: Engine, meter: Calls) -> None:
    def create_volume(answer: Any) -> Any:
        return answer

    assert engine.ask(engine.work(), create_volume, {"size": 1}) == {"size": 1}
    assert engine.ask(engine.work(), create_volume, None) == {}
    with pytest.raises(BackendError, match="'fake': the driver answered create_volume with list, not a dictionary"):
        engine.ask(engine.work(), create_volume, ["size"])
    with pytest.raises(BackendError, match="'fake': the driver answered call with str, not a dictionary"):
        engine.ask(engine.work(), partial(create_volume, "size"))
    assert meter.seen == [*[("fake", "create_volume")] * 3, ("fake", "call")]


@pytest.mark.parametrize("call", ["call", "call_quietly"])
def test_what_fails_in_cinder_is_an_error_of_the_back_end(engine: Engine, call: str) -> None:
    def fail() -> None:
        raise RuntimeError("no space")

    with pytest.raises(BackendError, match="back end 'fake': no space"):
        getattr(engine, call)(engine.work(), fail)


def test_a_back_end_that_was_not_started_has_no_driver(engine: Engine) -> None:
    with pytest.raises(BackendUnavailable, match="it is not set up"):
        engine.ready_driver()
