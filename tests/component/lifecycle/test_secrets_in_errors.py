"""Drivers quote what they were given. No password of a back end is in what it says, shows or logs."""

from __future__ import annotations

import io
import logging

import pytest

from csi_cinderlib.errors import BackendError, DriverError
from csi_cinderlib.model.records import Volume
from tests.support.fakes import makers
from tests.support.fakes.stores import ObservedStore
from tests.support.local_backends import MakeBackend

PASSWORD = "canary-hunter2"
SAID = {"nothing_password": PASSWORD, "nothing_error": f"no session for admin/{PASSWORD} at 192.0.2.1"}


def test_an_error_of_a_call_and_what_is_noted_on_the_record(make: MakeBackend, store: ObservedStore) -> None:
    backend = make(**SAID, nothing_fail=["create_volume", "delete_volume"])
    with pytest.raises(BackendError, match=r"no session for admin/\*\*\* at 192\.0\.2\.1"):
        backend.create_volume(makers.volume())
    (left,) = store.page(Volume).records
    assert "admin/***" in left.message
    assert PASSWORD not in repr(left)


def test_an_error_of_the_start(make: MakeBackend) -> None:
    backend = make(**SAID, nothing_fail=["do_setup"], start=False)
    with pytest.raises(DriverError, match=r"admin/\*\*\* at") as raised:
        backend.start()
    assert PASSWORD not in str(raised.value)
    assert "admin/*** at" in backend.failure


def test_what_a_driver_logs_while_it_works(make: MakeBackend, log: io.StringIO) -> None:
    backend = make(**SAID)

    def talk(_volume: object) -> None:
        logging.getLogger("cinder.volume.drivers.some").warning("logging in with %s", PASSWORD)

    backend.driver.create_volume = talk
    backend.create_volume(makers.volume())
    assert "logging in with ***" in log.getvalue()
    assert PASSWORD not in log.getvalue()


def test_a_call_that_ends_after_its_back_end_was_stopped(
    make: MakeBackend, store: ObservedStore, log: io.StringIO
) -> None:
    backend = make(**SAID)

    def outlive(_volume: object) -> None:
        backend.stop()
        logging.getLogger("cinder.volume.drivers.some").warning("logging in with %s", PASSWORD)
        raise RuntimeError(SAID["nothing_error"])

    backend.driver.create_volume = outlive
    with pytest.raises(BackendError, match=r"no session for admin/\*\*\* at"):
        backend.create_volume(makers.volume())
    (left,) = store.page(Volume).records
    assert "logging in with ***" in log.getvalue()
    assert PASSWORD not in log.getvalue() + repr(left)
