"""Going on until it works, and ending when asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from csi_cinderlib.app import stopping as module
from csi_cinderlib.app.stopping import Stopping, retry
from csi_cinderlib.errors import ConfigurationError, StoreUnavailable


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a millisecond."""
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.001, 0.002))


def ended() -> Stopping:
    """One whose process is to end already."""
    stopping = Stopping()
    stopping.failed(StoreUnavailable("gone"))
    stopping.rest()
    return stopping


@pytest.mark.usefixtures("quick")
def test_it_goes_on_until_it_works_and_tells_of_each_failure() -> None:
    answers = iter([StoreUnavailable("one"), StoreUnavailable("two"), StoreUnavailable("three"), None])
    told: list[str] = []

    def attempt() -> None:
        if error := next(answers):
            raise error

    assert retry(attempt, Stopping(), "no store yet", failed=told.append)
    assert told == ["one", "two", "three"]


def test_a_wrong_setting_is_not_tried_again() -> None:
    tries: list[int] = []

    def attempt() -> None:
        tries.append(1)
        raise ConfigurationError("store", "is wrong")

    with pytest.raises(ConfigurationError):
        retry(attempt, Stopping(), "no store yet")
    assert tries == [1]


def test_it_gives_up_when_the_process_is_to_end() -> None:
    def attempt() -> None:
        raise StoreUnavailable("never there")

    assert not retry(attempt, ended(), "no store yet")


def test_an_error_ends_the_process_with_that_error() -> None:
    stopping = Stopping()
    error = StoreUnavailable("gone")
    threading.Timer(0.01, stopping.failed, [error]).start()
    stopping.rest()
    assert stopping.error is error
    assert stopping.wait(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_seen_whichever_thread_gets_it(number: int) -> None:
    """Python runs its handlers in the main thread, and the kernel may interrupt another one."""
    program = f"""
import os, threading
from csi_cinderlib.app.stopping import Stopping
stopping = Stopping()
stopping.listen()
threading.Timer(0.2, lambda: os.kill(os.getpid(), {int(number)})).start()
stopping.rest()
print(stopping.reason, stopping.wait(0))
"""
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert outcome.stdout == f"{signal.Signals(number).name} True\n"


def test_a_full_pipe_loses_no_signal() -> None:
    stopping = Stopping()
    with pytest.raises(BlockingIOError):
        while True:
            os.write(stopping._wake, bytes(4096))
    stopping.reason = "SIGTERM"
    stopping.rest()
    assert stopping.wait(0)
