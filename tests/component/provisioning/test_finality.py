"""No answer is final while a record is left that a retry would deal with."""

from __future__ import annotations

from typing import Any

import pytest

from csi_cinderlib.errors import (
    BackendError,
    BackendUnavailable,
    DriverError,
    InvalidRequest,
    OperationPending,
    StoreUnavailable,
)
from csi_cinderlib.lifecycle.registry import Backends
from csi_cinderlib.model.records import GroupSnapshot, Snapshot, Volume
from csi_cinderlib.model.size import GiB
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.provisioning.finality import home, retried

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
    with pytest.raises(DriverError) as caught, retried(store, "array", kind, id):
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
    with retried(store_with(VOLUME), "array", Volume, "v"):
        pass


def test_a_back_end_that_is_not_configured_any_more_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="'array': it is not configured any more"):
        home(Backends(), VOLUME)
