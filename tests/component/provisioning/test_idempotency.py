"""What a repeated Create call does, and that no answer is final while a record is left that a retry would deal with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from csi_cinderlib.errors import (
    AlreadyExists,
    BackendError,
    BackendUnavailable,
    DriverError,
    InvalidRequest,
    NotFound,
    OperationPending,
    PreconditionFailed,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle.backend import Backend
from csi_cinderlib.lifecycle.intake import Intake
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Status, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.idempotency import CreateCall, create_once, retryable

VOLUME = Volume(id="v", backend="array", size=GiB(1))
FINAL = [
    (BackendError("array", "it is full"), "back end 'array': it is full (a retry cleans up first)"),
    (InvalidRequest("size", "is odd"), "back end 'array': size: is odd (a retry cleans up first)"),
]
PASSING = [OperationPending("busy"), StoreUnavailable("away"), BackendUnavailable("array", "away")]


def store_with(record: Any = None) -> MemoryStore:
    store = MemoryStore()
    if record:
        store.add(record)
    return store


def outcome(store: MemoryStore, error: DriverError, kind: Any = Volume, id: str = "v") -> BaseException:
    with pytest.raises(DriverError) as caught, retryable(store, kind, id):
        raise error
    return caught.value


@pytest.mark.parametrize(("error", "message"), FINAL)
def test_an_error_that_left_the_record_asks_for_a_retry(error: DriverError, message: str) -> None:
    seen = outcome(store_with(VOLUME), error)
    assert type(seen) is BackendUnavailable
    assert str(seen) == message
    assert seen.__cause__ is error


@pytest.mark.parametrize(("error", "message"), FINAL)
def test_an_error_that_left_nothing_is_final(error: DriverError, message: str) -> None:
    assert outcome(store_with(), error) is error


@pytest.mark.parametrize("error", PASSING)
def test_an_error_that_is_retried_anyway_stays_what_it_is(error: DriverError) -> None:
    assert outcome(store_with(VOLUME), error) is error


def test_a_record_that_cannot_be_read_is_there() -> None:
    store = MemoryStore()
    store._put_raw(Volume, "v", "1-x", "{")
    assert isinstance(outcome(store, FINAL[0][0]), BackendUnavailable)


@pytest.mark.parametrize(
    "record",
    [
        Snapshot(id="x", name="x", backend="array", volume_id="v", size=GiB(1)),
        GroupSnapshot(id="x", name="x", backend="array"),
    ],
)
def test_only_a_record_of_the_kind_and_the_id_counts(record: Any) -> None:
    store = store_with(VOLUME)
    assert outcome(store, FINAL[0][0], type(record), "x") is FINAL[0][0]
    store.add(record)
    assert isinstance(outcome(store, FINAL[0][0], type(record), "x"), BackendUnavailable)
    assert outcome(store, FINAL[0][0], type(record), "v") is FINAL[0][0]


def test_a_block_that_succeeds_is_left_alone() -> None:
    with retryable(store_with(VOLUME), Volume, "v"):
        pass


@dataclass
class Calls:
    """Notes what a Create call does; each step answers or raises what `outcomes` has for it."""

    store: MemoryStore
    outcomes: dict[str, Volume | DriverError] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def _note(self, step: str) -> Volume:
        self.made.append(step)
        outcome = self.outcomes.get(step, replace(VOLUME, name=step))
        if isinstance(outcome, DriverError):
            raise outcome
        return outcome

    def _compare(self, _record: Volume) -> None:
        self._note("compare")

    def _delete(self, backend: Backend, record: Volume) -> None:
        """Remove the record, or keep it as the outcome says."""
        self.made.append(f"delete on {backend.name}")
        self.store.remove(record)
        if isinstance(kept := self.outcomes.get("delete"), Volume):
            self.store.add(kept)

    def _resume(self, backend: Backend, record: Volume) -> Volume:
        return self._note(f"resume {record.id} on {backend.name}")

    def _create(self) -> Volume:
        return self._note("create")

    def run(
        self,
        *,
        create: Callable[[], Volume] | None = None,
        resume: Callable[[Backend, Volume], Volume] | None = None,
    ) -> Volume:
        backend = cast(Backend, SimpleNamespace(name="array", ready=True, intake=Intake("array")))
        call = CreateCall(
            kind=Volume,
            id="v",
            check_same=self._compare,
            create=create or self._create,
            resume=resume or self._resume,
            delete=self._delete,
        )
        return create_once(self.store, Backends([backend]), call)


@pytest.mark.parametrize(
    ("status", "steps"),
    [
        (None, ["create"]),
        (Status.AVAILABLE, ["compare"]),
        (Status.EXTENDING, ["compare"]),
        (Status.CREATING, ["compare", "resume v on array"]),
        (Status.ERROR, ["compare", "resume v on array"]),
        (Status.DELETING, ["delete on array", "create"]),
    ],
)
def test_a_call_goes_on_from_where_the_record_stands(status: Status | None, steps: list[str]) -> None:
    calls = Calls(store_with(replace(VOLUME, status=status) if status else None))
    answer = calls.run()
    assert calls.made == steps
    assert answer == (calls.store.get(Volume, "v") if steps == ["compare"] else replace(VOLUME, name=steps[-1]))


@pytest.mark.parametrize("status", [Status.DELETED, Status.DELETING])
def test_the_name_of_a_deleted_volume_that_has_snapshots_is_taken(status: Status) -> None:
    deleted = replace(VOLUME, name="pvc-1", status=Status.DELETED)
    calls = Calls(store_with(replace(deleted, status=status)), {"delete": deleted})
    with pytest.raises(
        AlreadyExists, match="volume 'pvc-1' already exists: a deleted volume of this name still has snapshots"
    ):
        calls.run()
    assert "create" not in calls.made


def test_what_another_process_deletes_again_is_no_answer() -> None:
    deleting = replace(VOLUME, status=Status.DELETING)
    refusal = PreconditionFailed("volume 'v' is deleting")
    calls = Calls(store_with(deleting), {"delete": deleting, "resume v on array": refusal})
    with pytest.raises(BackendUnavailable, match="volume 'v' is deleting"):
        calls.run()
    assert "create" not in calls.made


def test_what_differs_is_neither_answered_nor_resumed() -> None:
    for status in (Status.AVAILABLE, Status.ERROR):
        calls = Calls(store_with(replace(VOLUME, status=status)), {"compare": AlreadyExists("volume", "pvc-1")})
        with pytest.raises(AlreadyExists):
            calls.run()
        assert calls.made == ["compare"]


def test_an_attempt_whose_record_is_gone_is_begun_anew() -> None:
    calls = Calls(store_with(replace(VOLUME, status=Status.ERROR)))

    def find_nothing(_backend: Backend, record: Volume) -> Volume:
        calls.store.remove(record)
        raise NotFound("volume", record.id)

    assert calls.run(resume=find_nothing).name == "create"
    assert calls.made == ["compare", "create"]


def test_what_an_attempt_lacks_is_no_reason_to_begin_anew() -> None:
    calls = Calls(store_with(replace(VOLUME, status=Status.ERROR)), {"resume v on array": NotFound("snapshot", "s")})
    with pytest.raises(BackendUnavailable, match=r"snapshot 's' does not exist \(a retry cleans up first\)"):
        calls.run()
    assert calls.made == ["compare", "resume v on array"]


def test_a_failure_is_final_when_no_record_is_left() -> None:
    calls = Calls(store_with(), {"create": FINAL[0][0]})
    with pytest.raises(BackendError) as caught:
        calls.run()
    assert caught.value is FINAL[0][0]


@pytest.mark.parametrize("step", ["create", "resume"])
def test_no_failure_is_final_while_the_record_is_left(step: str) -> None:
    calls = Calls(store_with(replace(VOLUME, status=Status.ERROR) if step == "resume" else None))

    def fail(*_arguments: object) -> Volume:
        if step == "create":
            calls.store.add(replace(VOLUME, status=Status.ERROR))
        raise FINAL[0][0]

    with pytest.raises(BackendUnavailable, match="back end 'array': it is full"):
        calls.run(**{step: fail})
