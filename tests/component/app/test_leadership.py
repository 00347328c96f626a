"""How a process stands by, leads and ends. Time passes when a test says so: no lease runs out because a thread had to wait for its turn."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_cinderlib.app import leadership
from csi_cinderlib.app.leadership import Leadership
from csi_cinderlib.app.stopping import Stopping
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.errors import StaleRecord, StoreUnavailable
from csi_cinderlib.persistence.lease import Lease, State, StoredLease, Timing
from csi_cinderlib.persistence.memory import MemoryStore

QUICK = Timing(duration=0.9, deadline=0.65, renew=0.35, retry=0.05, look=0.1)
"""So short are the pauses of the threads. Whether a lease has run out is a matter of the `Clock`."""


class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def wait_for(holds: Callable[[], object]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


class Flaky(StoredLease):
    """Fails while `away` is set. While `answers` is not, one write hangs."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, store)
        self.away = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.asked = threading.Event()
        """Whether a write has begun to hang."""
        self.failed = threading.Event()
        """Whether somebody has found it away."""

    def read(self) -> State:
        self._fail()
        return super().read()

    def write(self, holder: str, seconds: float, seen: State) -> State:
        self._fail()
        if not self.answers.is_set() and not self.asked.is_set():
            self.asked.set()
            self.answers.wait(60)
        return super().write(holder, seconds, seen)

    def _fail(self) -> None:
        if self.away.is_set():
            self.failed.set()
            raise StoreUnavailable("the store is away")


class Process:
    """One that wants the lease; its end is noted."""

    def __init__(self, store: MemoryStore, name: str, clock: Clock, timing: Timing = QUICK) -> None:
        self.record = Flaky(store)
        self.ended = threading.Event()
        self.reason = ""
        self.readiness = Readiness()
        self.stopping = Stopping()
        self.leadership = Leadership(Lease(self.record, name, timing=timing, clock=clock), end=self._end)

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()

    def leads(self) -> bool:
        return self.leadership.wait(self.stopping, self.readiness)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def a(store: MemoryStore, clock: Clock) -> Iterator[Process]:
    process = Process(store, "a", clock)
    yield process
    process.leadership.close(release=True)


@pytest.fixture
def b(store: MemoryStore, clock: Clock) -> Iterator[Process]:
    process = Process(store, "b", clock)
    yield process
    process.leadership.close(release=True)


def standing_by(process: Process) -> threading.Thread:
    """Stands by in a thread, and says so."""
    thread = threading.Thread(target=process.leads, daemon=True)
    thread.start()
    while not process.readiness.stands_by:
        assert thread.is_alive()
    return thread


def test_a_standby_says_who_holds_the_lease_and_takes_over_when_it_is_released(a: Process, b: Process) -> None:
    assert a.leads()
    thread = standing_by(b)
    assert b.readiness.why_not == "standby: a holds the lease"
    a.leadership.close(release=True)
    thread.join(60)
    b.leadership.lease.check()
    assert not a.ended.is_set()


def test_a_standby_that_takes_over_is_starting(a: Process, b: Process) -> None:
    """It may be long before its back ends are there, or they never are: it is not as good as ready any more."""
    assert a.leads()
    thread = standing_by(b)
    assert b.readiness.stands_by
    a.leadership.close(release=True)
    thread.join(60)
    assert (b.readiness.stands_by, b.readiness.why_not) == (False, "this process is still starting")


def test_a_lease_that_is_not_released_runs_out(a: Process, b: Process, clock: Clock, store: MemoryStore) -> None:
    assert a.leads()
    thread = standing_by(b)
    a.leadership.close(release=False)
    a.leadership.lease.check()
    last = StoredLease(store, store).read().revision
    wait_for(
        lambda: b.leadership.lease._state.revision == last
    )  # from that look on it counts, by a clock that moves once
    clock.now += QUICK.duration
    thread.join(60)
    b.leadership.lease.check()


def test_a_holder_may_wait_again(a: Process, b: Process) -> None:
    assert a.leads()
    assert a.leads()
    a.leadership.lease.check()
    a.leadership.close(release=True)
    assert b.leads()


def test_a_lease_whose_renewal_hangs_is_not_released(store: MemoryStore, clock: Clock) -> None:
    """The renewal could be carried out after the release."""
    a = Process(store, "a", clock, Timing(renew=0.05))
    assert a.leads()
    a.record.answers.clear()
    try:
        assert a.record.asked.wait(60)
        a.leadership.close(release=True)
        assert StoredLease(store, store).read().holder == "a"
    finally:
        a.record.answers.set()


def test_a_standby_ends_when_its_process_is_to_end(a: Process, b: Process) -> None:
    assert a.leads()
    thread = standing_by(b)
    b.stopping.failed(StoreUnavailable("gone"))
    b.stopping.rest()
    thread.join(60)
    assert not thread.is_alive()
    assert b.leadership.lease.remaining() <= 0


def test_a_store_that_is_away_is_no_standby_and_is_waited_for(a: Process) -> None:
    a.record.away.set()
    thread = threading.Thread(target=a.leads)
    thread.start()
    while "the store is away" not in a.readiness.why_not:
        assert thread.is_alive()
    assert not a.readiness.stands_by
    a.record.away.clear()
    thread.join(60)
    a.leadership.lease.check()


def test_a_holder_renews_and_survives_a_store_that_is_away_for_less_than_the_deadline(a: Process, clock: Clock) -> None:
    assert a.leads()
    a.record.away.set()
    assert a.record.failed.wait(60)
    clock.now += QUICK.deadline / 2
    a.record.away.clear()
    for _ in range(5):
        wait_for(lambda: a.leadership.lease.remaining() > 0.9 * QUICK.deadline)
        clock.now += QUICK.deadline / 2
    assert not a.ended.is_set()
    a.leadership.lease.check()


def test_a_holder_that_cannot_renew_ends_at_the_deadline(a: Process, clock: Clock) -> None:
    assert a.leads()
    a.record.away.set()
    assert a.record.failed.wait(60)
    clock.now += QUICK.deadline / 2
    assert not a.ended.wait(4 * QUICK.retry)
    clock.now += QUICK.deadline / 2
    assert a.ended.wait(60)
    assert "was not renewed" in a.reason or "does not hold" in a.reason
    assert a.leadership.lease.remaining() <= 0


def test_a_holder_whose_renewal_hangs_ends_at_the_deadline(a: Process, clock: Clock) -> None:
    assert a.leads()
    a.record.answers.clear()
    try:
        assert a.record.asked.wait(60)
        assert not a.ended.is_set()
        clock.now += QUICK.deadline
        assert a.ended.wait(60)
        assert "was not renewed" in a.reason
    finally:
        a.record.answers.set()


def took_over(store: MemoryStore, name: str) -> bool:
    """Whether it did, before the holder renewed the lease."""
    record = StoredLease(store, store)
    try:
        return record.write(name, 18, record.read()).holder == name
    except StaleRecord:
        return False


def test_a_holder_that_finds_another_one_ends(a: Process, store: MemoryStore) -> None:
    assert a.leads()
    wait_for(lambda: took_over(store, "b"))
    assert a.ended.wait(60)
    assert "b holds the lease" in a.reason


def test_a_process_ends_at_once_and_says_why() -> None:
    program = "import threading; from csi_cinderlib.app.leadership import end_process, logs\n"
    program += "logs.configure(format='text', level='info')\n"
    program += "threading.Thread(target=threading.Event().wait).start(); end_process('somebody else has it')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "active controller role lost" in done.stdout + done.stderr
    assert "somebody else has it" in done.stdout + done.stderr


def test_a_state_directory_keeps_its_identity_until_the_machine_starts_anew(tmp_path: Path) -> None:
    first = leadership.identity(tmp_path)
    assert leadership.identity(tmp_path) == first
    (tmp_path / "other").mkdir()
    assert leadership.identity(tmp_path / "other") != first
    (tmp_path / "boot_id").write_text("another-boot\n")
    second = leadership.identity(tmp_path, tmp_path / "boot_id")
    assert second != first
    assert leadership.identity(tmp_path, tmp_path / "boot_id") == second


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"boot", b"boot "])
def test_an_identity_that_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / leadership.FILE).write_bytes(content)
    made = leadership.identity(tmp_path)
    assert len(made) > 12
    assert leadership.identity(tmp_path) == made


def test_where_the_machine_does_not_say_when_it_started_each_process_has_an_identity_of_its_own(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert leadership.identity(tmp_path, missing) != leadership.identity(tmp_path, missing)
