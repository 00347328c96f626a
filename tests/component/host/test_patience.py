"""Work that may never end is waited for with patience, and never begun again behind its own back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from types import SimpleNamespace

import pytest

from csi_cinderlib.errors import NoAnswer, OperationPending
from csi_cinderlib.host.patience import Patience, within
from csi_cinderlib.observe import logs

SHARE = "/srv/share"
TIMEOUT = 60


class Hanging:
    """Work that hangs until the test lets it go, and counts how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.released = threading.Event()
        self._changed = threading.Condition()

    def __call__(self) -> str:
        with self._changed:
            self.begun += 1
            self._changed.notify_all()
        assert self.released.wait(TIMEOUT)
        return "at last"

    def wait_until_begun(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.begun == times, TIMEOUT)


class Key:
    """Counts how often it was looked up."""

    looked_up = 0

    def __hash__(self) -> int:
        self.looked_up += 1
        return 1


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    work = Hanging()
    yield work
    work.released.set()


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _fail() -> None:
    raise KeyError("x")


def impatient(threads: int = 16, **seconds: float) -> Patience:
    return Patience(threads, threads, **{"look_seconds": 0.05, "slow_seconds": 0.05, "wait_seconds": 0.1, **seconds})


def test_what_answers_is_answered() -> None:
    assert Patience().look(SHARE, "a", lambda: 1) == 1
    assert Patience().carry_out(SHARE, lambda: 2) == 2
    assert within(TIMEOUT, "work", lambda: 3) == 3


def test_what_fails_fails() -> None:
    with pytest.raises(KeyError):
        Patience().look(SHARE, "a", _fail)
    with pytest.raises(KeyError):
        Patience().carry_out(SHARE, _fail)
    with pytest.raises(KeyError):
        within(TIMEOUT, "work", _fail)


def test_the_log_of_the_work_names_the_request() -> None:
    with logs.request("abc"):
        assert Patience().carry_out(SHARE, logs.request_id) == "abc"


def test_work_that_does_not_end_in_time_is_left(hanging: Hanging) -> None:
    with pytest.raises(NoAnswer, match=r"thawing /x: timed out after 0.01 s"):
        within(0.01, "thawing /x", hanging)


def test_a_source_that_hangs_is_asked_once_whatever_is_asked(hanging: Hanging) -> None:
    patience = impatient()
    for key in ("a", "b", "a"):
        with pytest.raises(NoAnswer, match=rf"^{SHARE} has not responded for \d+ s"):
            patience.look(SHARE, key, hanging)
    with pytest.raises(NoAnswer):
        patience.carry_out(SHARE, hanging)
    hanging.wait_until_begun(1)
    assert patience.is_hanging(SHARE)


def test_a_source_that_hangs_does_not_concern_another_one(hanging: Hanging) -> None:
    patience = impatient(wait_seconds=TIMEOUT)
    with pytest.raises(NoAnswer):
        patience.look(SHARE, "a", hanging)
    assert not patience.is_hanging("/srv/other")
    assert Patience().look("/srv/other", "a", lambda: 1) == 1
    assert patience.carry_out("/srv/other", lambda: 1) == 1


def test_a_source_that_answers_again_is_used_again(hanging: Hanging) -> None:
    patience = impatient()
    with pytest.raises(NoAnswer):
        patience.look(SHARE, "a", hanging)
    hanging.released.set()
    eventually(lambda: not patience.is_hanging(SHARE))
    patience._look_seconds = TIMEOUT
    assert patience.look(SHARE, "a", hanging) == "at last"
    assert hanging.begun == 2


def test_callers_that_ask_the_same_at_once_share_an_answer(hanging: Hanging) -> None:
    patience = impatient(look_seconds=TIMEOUT)
    asked = Key()
    with futures.ThreadPoolExecutor(8) as callers:
        calls = [callers.submit(patience.look, SHARE, asked, hanging) for _ in range(8)]
        eventually(lambda: asked.looked_up >= 9)  # the first one notes it as well
        assert patience.look(SHARE, "b", lambda: "b") == "b"
        hanging.released.set()
        assert [call.result(TIMEOUT) for call in calls] == ["at last"] * 8
    assert hanging.begun == 1


def look_in_crowd(patience: Patience, source: str, work: Callable[[], str]) -> str:
    return patience.look(source, "a", work, leaves_room=True)


def test_callers_that_wait_for_one_source_leave_threads_to_the_others(hanging: Hanging) -> None:
    patience = impatient(8, look_seconds=TIMEOUT, crowded_seconds=0.05)
    with futures.ThreadPoolExecutor(9) as callers:
        patient = callers.submit(patience.look, SHARE, "a", hanging)
        calls = [callers.submit(look_in_crowd, patience, SHARE, hanging) for _ in range(8)]
        eventually(lambda: sum(call.done() for call in calls) == 6)
        with pytest.raises(OperationPending, match=rf"^{SHARE} has not responded for \d+ s, and many calls wait"):
            look_in_crowd(patience, SHARE, hanging)
        assert look_in_crowd(patience, "/srv/other", lambda: "other") == "other"
        assert not patience.is_hanging(SHARE), "it may be slow"
        hanging.released.set()
        outcomes = [type(call.exception(TIMEOUT)) for call in calls]
        assert patient.result(TIMEOUT) == "at last"
    assert (outcomes.count(OperationPending), outcomes.count(type(None))) == (6, 2)
    assert hanging.begun == 1


def test_callers_that_wait_for_many_sources_have_half_of_the_threads_at_most(hanging: Hanging) -> None:
    patience = impatient(look_seconds=TIMEOUT, crowded_seconds=0.05)
    with futures.ThreadPoolExecutor(16) as callers:
        calls = [callers.submit(look_in_crowd, patience, f"/srv/{number}", hanging) for number in range(16)]
        eventually(lambda: sum(call.done() for call in calls) == 8)
        hanging.released.set()
        outcomes = [type(call.exception(TIMEOUT)) for call in calls]
    assert (outcomes.count(OperationPending), outcomes.count(type(None))) == (8, 8)


def test_a_look_that_leaves_room_is_an_answer_or_none_when_there_is_room(hanging: Hanging) -> None:
    patience = impatient(look_seconds=0.2, crowded_seconds=0.05)
    with pytest.raises(NoAnswer):
        look_in_crowd(patience, SHARE, hanging)
    hanging.released.set()
    eventually(lambda: not patience.is_hanging(SHARE))
    patience._look_seconds = TIMEOUT
    assert look_in_crowd(patience, SHARE, hanging) == "at last"


def test_a_slow_call_goes_on_when_its_caller_has_waited_long_enough(hanging: Hanging) -> None:
    patience = impatient()
    with pytest.raises(OperationPending, match=rf"^{SHARE}: the call has been running for \d+ s and continues"):
        patience.carry_out(SHARE, hanging)
    hanging.wait_until_begun(1)
    assert not patience.is_hanging(SHARE), "slow is not hanging: only looks tell"


def test_a_call_may_be_waited_for_less_long(hanging: Hanging) -> None:
    with pytest.raises(OperationPending):
        Patience().carry_out(SHARE, hanging, wait=0.01)


def test_a_slow_call_is_waited_for(hanging: Hanging) -> None:
    patience = impatient(wait_seconds=TIMEOUT)
    with futures.ThreadPoolExecutor() as callers:
        call = callers.submit(patience.carry_out, SHARE, hanging)
        hanging.wait_until_begun(1)
        with pytest.raises(futures.TimeoutError):
            call.result(0.2)
        hanging.released.set()
        assert call.result(TIMEOUT) == "at last"


def test_slow_calls_of_a_source_leave_threads_to_the_others_and_no_more_are_begun(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("csi_cinderlib.host.patience.time", SimpleNamespace(monotonic=lambda: clock.now))
    patience = impatient(8, wait_seconds=TIMEOUT)
    with futures.ThreadPoolExecutor(16) as callers:
        calls = [callers.submit(patience.carry_out, SHARE, hanging) for _ in range(5)]
        hanging.wait_until_begun(5)
        eventually(lambda: sum(call.done() for call in calls) == 3)
        clock.now = 1.0  # however long it took, none was slow before all were begun
        with pytest.raises(OperationPending, match=f"^{SHARE}: 5 calls have been running for more than 0.05 s"):
            patience.carry_out(SHARE, hanging)
        assert hanging.begun == 5
        assert patience.carry_out("/srv/other", lambda: 1) == 1
        hanging.released.set()
        outcomes = [type(call.exception(TIMEOUT)) for call in calls]
    assert (outcomes.count(OperationPending), outcomes.count(type(None))) == (3, 2)


def test_slow_calls_of_many_sources_take_half_of_the_threads_at_most(hanging: Hanging) -> None:
    patience = impatient(wait_seconds=TIMEOUT)
    with futures.ThreadPoolExecutor(16) as callers:
        calls = [callers.submit(patience.carry_out, f"/srv/{number}", hanging) for number in range(16)]
        eventually(lambda: sum(call.done() for call in calls) == 8)
        hanging.released.set()
        outcomes = [call.exception(TIMEOUT) for call in calls]
    assert outcomes.count(None) == 8


def test_what_hangs_does_not_keep_the_process_from_ending(hanging: Hanging) -> None:
    source = "/srv/of-this-test-alone"  # of others, threads may be about to end
    with pytest.raises(NoAnswer):
        impatient().look(source, "a", hanging)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == f"at {source}")
    assert thread.daemon
