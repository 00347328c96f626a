"""A back end whose array was not reached is not ready, though its driver says nothing of it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from csi_cinderlib.cinder import reached
from csi_cinderlib.errors import BackendUnavailable
from tests.support.local_backends import MakeBackend

UNREACHED = "tests.support.fakes.unreached."


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("ZeroDriver", "the driver reports no capacity; the array may be unreachable"),
        (
            "UnknownDriver",
            "the driver reports no capacity; last error logged: no response from 192.0.2.9, login admin/[*]{3}",
        ),
        ("DownDriver", "the driver reports that the back end is down"),
        ("EmptyDriver", "the driver reported no statistics; last error logged: no response from 192.0.2.9"),
    ],
)
def test_it_is_not_ready(make: MakeBackend, driver: str, words: str) -> None:
    backend = make(
        driver=UNREACHED + driver,
        start=False,
        nothing_mode="slow",
        nothing_pools=["a", "b"],
        nothing_password="canary-5e55",
    )
    with pytest.raises(BackendUnavailable, match=words) as raised:
        backend.start()
    assert not backend.ready
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("driver", ["UnknownDriver", "DownDriver"])
def test_an_array_that_answers_is_ready_with_an_unknown_capacity_or_one_pool_down(
    make: MakeBackend, driver: str
) -> None:
    assert make(driver=UNREACHED + driver, nothing_pools=["a", "b"]).ready


def test_an_array_with_capacity_is_ready_whatever_its_driver_logged(make: MakeBackend) -> None:
    with reached.heard() as errors:
        logging.getLogger("driver").error("a path is down")
    assert errors == ["a path is down"]
    assert make(nothing_capacity_gb="1").ready


def test_an_array_that_is_lost_later_has_no_figures(make: MakeBackend) -> None:
    backend: Any = make(stats_seconds=0)
    assert backend.stats().pools
    backend.driver.get_volume_stats = lambda refresh: {"total_capacity_gb": 0, "free_capacity_gb": 0}
    with pytest.raises(BackendUnavailable, match="reports no capacity"):
        backend.stats()


def test_a_message_that_cannot_be_formatted_does_not_fail_the_driver() -> None:
    with reached.heard() as errors:
        logging.getLogger().handlers[-1].handle(
            logging.LogRecord("driver", logging.ERROR, "", 0, "code %d", ("no number",), None)
        )
        logging.getLogger("driver").error("no response")
    assert errors == ["no response"]


def test_only_errors_of_the_own_thread_count() -> None:
    with reached.heard() as errors:
        other = threading.Thread(target=lambda: logging.getLogger("other").error("of another back end"))
        other.start()
        other.join()
        logging.getLogger("own").warning("no error")
    assert errors == []
