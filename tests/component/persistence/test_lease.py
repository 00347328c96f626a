from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_cinderlib.config.settings import SealingKey
from csi_cinderlib.errors import LeaseLost, StaleRecord, StoreUnavailable
from csi_cinderlib.model.records import KeyValue
from csi_cinderlib.persistence.api import Store
from csi_cinderlib.persistence.lease import KEY, TIMING, Lease, LeasedStore, State, StoredLease
from csi_cinderlib.persistence.memory import MemoryStore
from csi_cinderlib.persistence.plugins import open_store
from csi_cinderlib.sealing import Sealer, generate_key
from tests.support.fakes.stores import ObservedStore
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.server import running


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running(PostgreSQL)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    options: dict[str, object] = {}
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        server.renew_database()
        options["url"] = server.url
    opened = open_store("sql", options, state_dir=tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def a(store: Store, clock: Clock) -> Lease:
    return Lease(StoredLease(store, store), "a", clock=clock)


@pytest.fixture
def b(store: Store, clock: Clock) -> Lease:
    """Its clock shows quite another time."""
    return Lease(StoredLease(store, store), "b", clock=lambda: clock() - 5000)


def held(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return False
    return lease.remaining() > 0


def test_of_two_processes_one_gets_the_lease_and_the_other_knows_who_has_it(a: Lease, b: Lease) -> None:
    assert not held(a)
    assert a.acquire()
    assert not b.acquire()
    assert (held(a), held(b), b.holder) == (True, False, "a")


def test_a_lease_that_is_renewed_is_never_taken_over(a: Lease, b: Lease, clock: Clock) -> None:
    assert a.acquire()
    for _ in range(20):
        clock.now += TIMING.renew
        assert not b.acquire()
        a.renew()
        assert held(a)


def test_the_holder_stops_acting_at_the_renew_deadline_and_another_takes_over_after_the_duration(
    a: Lease, b: Lease, clock: Clock
) -> None:
    assert a.acquire()
    assert not b.acquire()
    clock.now += TIMING.deadline - 0.1
    assert held(a)
    clock.now += 0.1
    assert not held(a)
    assert not b.acquire()
    clock.now += TIMING.duration - TIMING.deadline - 0.1
    assert not b.acquire()
    assert b.next_look() == pytest.approx(0.1)
    clock.now += b.next_look()
    assert b.acquire()
    assert held(b)


def test_a_standby_that_looks_for_the_first_time_waits_the_whole_duration(a: Lease, b: Lease, clock: Clock) -> None:
    assert a.acquire()
    clock.now += 1000
    assert not b.acquire(), "it may have been renewed just now"
    assert b.next_look() == TIMING.look
    clock.now += TIMING.duration
    assert b.acquire()


def test_a_holder_that_finds_another_one_has_lost_the_lease_for_good(
    store: Store, a: Lease, b: Lease, clock: Clock
) -> None:
    assert a.acquire()
    record = store.get(KeyValue, KEY)
    store.replace(replace(record, value='{"holder": "b", "seconds": 18}'))
    with pytest.raises(LeaseLost, match="b holds the lease"):
        a.renew()
    assert not held(a)
    with pytest.raises(LeaseLost, match="does not hold"):
        a.renew()


def test_a_lease_that_has_run_out_is_not_renewed(store: Store, a: Lease, clock: Clock) -> None:
    assert a.acquire()
    before = store.get(KeyValue, KEY)
    clock.now += TIMING.deadline
    with pytest.raises(LeaseLost):
        a.renew()
    assert store.get(KeyValue, KEY) == before


def test_a_lease_that_is_released_is_taken_over_at_once(a: Lease, b: Lease) -> None:
    assert a.acquire()
    assert not b.acquire()
    a.release()
    assert not held(a)
    assert b.acquire()
    a.release()
    assert held(b)
    b.renew()


def test_a_successor_of_the_same_name_takes_the_lease_at_once(store: Store, a: Lease, clock: Clock) -> None:
    assert a.acquire()
    successor = Lease(StoredLease(store, store), "a", clock=clock)
    assert successor.acquire()


def test_one_of_two_that_take_over_at_the_same_moment_gets_it(clock: Clock) -> None:
    store = ObservedStore()
    a, b = (Lease(StoredLease(store, store), name, clock=clock) for name in "ab")
    for call in ("add", "replace"):
        store.before[call] = lambda _record: a.acquire()
        assert not b.acquire()
        assert held(a)
        a.release()


def test_a_renewal_whose_answer_was_lost_is_no_loss_of_the_lease(store: Store, a: Lease, clock: Clock) -> None:
    assert a.acquire()
    store.replace(store.get(KeyValue, KEY))  # as the one whose answer was lost did
    clock.now += TIMING.renew
    a.renew()
    assert a.remaining() == TIMING.deadline


def test_a_lease_whose_record_was_written_anew_is_released(store: Store, a: Lease, b: Lease) -> None:
    assert a.acquire()
    store.replace(store.get(KeyValue, KEY))  # as when a new key seals all records
    a.release()
    assert b.acquire()
    store.replace(store.get(KeyValue, KEY))
    a.release()
    b.renew()


def test_a_lease_that_another_one_has_is_not_released(store: Store, a: Lease, b: Lease, clock: Clock) -> None:
    assert a.acquire()
    assert not b.acquire()
    clock.now += TIMING.duration
    assert b.acquire()
    a._deadline.set(clock.now + 1)  # as a process that was stopped between the check and the request
    a.release()
    assert store.get(KeyValue, KEY).value.count('"b"') == 1


def test_the_deadline_counts_from_before_the_request(clock: Clock) -> None:
    """The answer may take long, and others count from the write."""
    store = ObservedStore()
    a = Lease(StoredLease(store, store), "a", clock=clock)

    def slowly(_record: object) -> None:
        clock.now += 3

    store.before["add"] = slowly
    assert a.acquire()
    assert a.remaining() == TIMING.deadline - 3


def test_a_store_that_is_away_neither_ends_nor_prolongs_a_lease(clock: Clock) -> None:
    class Away:
        def read(self) -> State:
            raise StoreUnavailable("away")

        def write(self, holder: str, seconds: float, seen: State) -> State:
            raise StoreUnavailable("away")

    store = MemoryStore()
    a = Lease(StoredLease(store, store), "a", clock=clock)
    assert a.acquire()
    a._record = Away()
    clock.now += TIMING.renew
    with pytest.raises(StoreUnavailable):
        a.renew()
    assert a.remaining() == TIMING.deadline - TIMING.renew
    a.release()
    assert not held(a)


def test_a_record_that_is_no_lease_is_taken_over_after_the_duration(store: Store, a: Lease, clock: Clock) -> None:
    store.add(KeyValue(id=KEY, value="nonsense"))
    assert not a.acquire()
    clock.now += TIMING.duration
    assert a.acquire()


def test_the_lease_is_not_sealed_and_one_that_was_sealed_is_read(clock: Clock) -> None:
    sealer = Sealer([SealingKey(id="k", key=generate_key())])
    sealed = MemoryStore(sealer)
    plain = MemoryStore()
    plain._tables, plain._lock = sealed._tables, sealed._lock
    a, b = (Lease(StoredLease(sealed, plain), name, clock=clock) for name in "ab")
    assert a.acquire()
    assert '"holder": "a"' in plain.get(KeyValue, KEY).value
    sealed.replace(sealed.get(KeyValue, KEY))
    a.renew()
    sealed.replace(sealed.get(KeyValue, KEY))
    assert not b.acquire()
    assert b.holder == "a"


def test_nothing_is_written_once_the_lease_is_lost(store: Store, a: Lease, clock: Clock) -> None:
    assert a.acquire()
    leased = LeasedStore(store, a.check)
    record = leased.replace(leased.add(KeyValue(id="k", value="v")))
    clock.now += TIMING.deadline
    for write in (leased.add, leased.replace, leased.remove):
        with pytest.raises(LeaseLost):
            write(record)
    assert leased.get(KeyValue, "k") == record
    assert record in leased.page(KeyValue).records
    assert leased.traits == store.traits
    a.acquire()
    leased.remove(record)
    with pytest.raises(StaleRecord):
        StoredLease(store, store).write("b", TIMING.duration, State("b", TIMING.duration, "1-stale"))
