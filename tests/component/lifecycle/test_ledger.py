"""What every operation of a back end relies on: whose record it is, and that records are written on top of others' changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from csi_cinderlib.errors import (
    OperationPending,
    StaleRecord,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle.ledger import Ledger
from csi_cinderlib.model.records import Attachment, GroupSnapshot, Snapshot, Status, Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore, touch

UNFINISHED = [status for status in Status if status is not Status.AVAILABLE]


@pytest.fixture
def store() -> ObservedStore:
    return ObservedStore()


@pytest.fixture
def ledger(store: ObservedStore) -> Ledger:
    return Ledger(
        "fake",
        store,
        owner="me",
        clock=lambda: datetime(2026, 5, 1, tzinfo=UTC),
        is_alive=lambda owner: owner != "dead",  # also itself, and nobody
    )


def records() -> list[Any]:
    volume = makers.volume()
    group = GroupSnapshot(id=makers.new_id(), name="together", backend="fake")
    return [volume, makers.snapshot(volume), makers.attachment(volume), group]


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("record", records())
def test_what_another_living_process_works_on_is_refused(ledger: Ledger, record: Any, status: Status) -> None:
    kind = {Volume: "volume", Snapshot: "snapshot", Attachment: "attachment", GroupSnapshot: "group snapshot"}[
        type(record)
    ]
    with pytest.raises(OperationPending, match=rf"^{kind} '{record.id}' is being processed by 'living' \({status}\)$"):
        ledger.check_free(replace(record, status=status, owner="living"))


@pytest.mark.parametrize("owner", ["", "me", "dead"])
@pytest.mark.parametrize("status", UNFINISHED)
def test_what_nobody_else_works_on_is_taken(ledger: Ledger, owner: str, status: Status) -> None:
    ledger.check_free(replace(makers.volume(), status=status, owner=owner))


def test_what_another_process_reverts_is_left_to_it(ledger: Ledger) -> None:
    with pytest.raises(OperationPending, match="is being processed by"):
        ledger.check_free(replace(makers.volume(), status=Status.AVAILABLE, owner="living"))


def test_an_intent_is_written_with_its_owner_and_without_an_old_message(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), status=Status.ERROR, owner="dead", message="the array was full"))
    intended = ledger.intend(record, Status.DELETING, unfinished=True)
    assert (intended.status, intended.owner, intended.message, intended.unfinished) == (Status.DELETING, "me", "", True)
    assert store.get(Volume, record.id) == intended


def test_an_intent_that_is_there_already_is_not_written_again(ledger: Ledger, store: ObservedStore) -> None:
    record = ledger.intend(store.add(makers.volume()), Status.DELETING)
    store.calls.clear()
    assert ledger.intend(record, Status.DELETING) is record
    assert store.calls == []


def test_no_intent_is_written_over_a_living_process_or_a_changed_record(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="living"))
    with pytest.raises(OperationPending):
        ledger.intend(record, Status.DELETING)
    assert store.get(Volume, record.id) == record
    changed = touch(store, record)
    with pytest.raises(StaleRecord):
        ledger.intend(replace(record, owner=""), Status.DELETING)
    assert store.get(Volume, record.id) == changed


def test_ones_own_intent_is_known_by_status_and_owner(ledger: Ledger) -> None:
    own = replace(makers.volume(), status=Status.CREATING, owner="me")
    ledger.check_own(own, Status.CREATING)
    for other in (replace(own, owner="living"), replace(own, owner=""), replace(own, status=Status.DELETING)):
        with pytest.raises(StaleRecord, match=own.id):
            ledger.check_own(other, Status.CREATING)


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
    ledger: Ledger, store: ObservedStore, status: Status, owner: str, taken: bool
) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    store.replace(replace(record, status=status, owner=owner))
    assert ledger.is_taken_over(record) is taken


def test_what_is_gone_is_taken_over_by_nobody(ledger: Ledger) -> None:
    assert not ledger.is_taken_over(makers.volume())


def test_a_record_is_removed_however_often_it_changes(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    touch(store, record)
    store.before["remove"] = lambda _record: touch(store, record)
    assert ledger.remove(record)
    assert store.page(Volume).records == ()
    assert not ledger.remove(record)


def test_a_record_that_another_process_has_taken_over_is_not_removed(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    taken_over = store.replace(replace(record, owner="other"))
    with pytest.raises(StaleRecord):
        ledger.remove(record)
    assert store.page(Volume).records == (taken_over,)
    store.replace(replace(taken_over, status=Status.DELETING))
    assert ledger.remove(record), "the other process wants it gone, too"


def test_a_record_that_is_gone_when_it_is_read_again_was_removed_by_another(
    ledger: Ledger, store: ObservedStore
) -> None:
    record = store.add(makers.volume())
    touch(store, record)
    store.before["get"] = lambda _id: store.remove(store.page(Volume).records[0])
    assert not ledger.remove(record)


def test_a_record_that_never_stops_changing_is_not_called_removed(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(makers.volume())

    def change(_record: object) -> None:
        touch(store, record)
        store.before["remove"] = change

    change(record)
    with pytest.raises(StaleRecord, match=record.id):
        ledger.remove(record)


def test_a_note_keeps_what_others_changed_meanwhile(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    touch(store, record)
    ledger.note(record, Status.ERROR, "it failed", owner="")
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
    ledger: Ledger, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    record = store.add(makers.volume())
    store.before["replace"] = unavailable
    ledger.note(record, Status.ERROR, "it failed")
    (line,) = caplog.records
    assert vars(line)["values"] == {
        "volume": record.id,
        "backend": record.backend,
        "message": "it failed",
        "reason": "the database is away",
    }


def test_what_stays_on_the_back_end_keeps_its_record(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    ledger.leave(record, "it could not be deleted")
    left = store.get(Volume, record.id)
    assert (left.status, left.message) == (Status.ERROR, "it could not be deleted")


def test_what_stays_on_the_back_end_gets_its_record_back(ledger: Ledger, store: ObservedStore) -> None:
    record = store.add(replace(makers.volume(), owner="me"))
    store.remove(record)
    ledger.leave(record, "it could not be deleted")
    left = store.get(Volume, record.id)
    assert (left.status, left.message, left.owner) == (Status.ERROR, "it could not be deleted", "")


def test_a_record_that_cannot_be_given_back_is_at_least_in_the_log(
    ledger: Ledger, store: ObservedStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.before["add"] = unavailable
    record = makers.volume()
    ledger.leave(record, "it could not be deleted")
    (line,) = caplog.records
    assert vars(line)["values"] == {
        "volume": record.id,
        "backend": record.backend,
        "message": "it could not be deleted",
        "reason": "the database is away",
    }
