"""Why an array could not be reached, where its driver does not say it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
import requests

from csi_cinderlib.cinder import faults


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class DriverError(Exception):
    """As a driver's."""


def caught(work: Callable[[], object], error: Exception) -> Exception:
    """The error that a driver raises when that fails."""
    try:
        try:
            work()
        except Exception:
            raise error  # noqa: B904 - as most drivers do
    except Exception as raised:
        return raised
    raise AssertionError("it did not fail")


def test_a_refused_connection_is_named_with_its_address() -> None:
    port = closed_port()
    error = caught(
        lambda: requests.get(f"http://127.0.0.1:{port}/api", timeout=5), DriverError("NetApp API failed. unknown")
    )
    assert faults.connection_cause(error) == f"connection refused to 127.0.0.1:{port}"
    translated = faults.translate_setup("array", "x.Driver", error)
    assert str(translated).endswith(f"NetApp API failed. unknown (connection refused to 127.0.0.1:{port})")


def test_without_an_address_the_reason_alone_is_given() -> None:
    error = caught(lambda: socket.create_connection(("127.0.0.1", closed_port())), DriverError("login failed"))
    assert faults.connection_cause(error) == "connection refused"


def test_what_the_driver_says_itself_is_not_said_again() -> None:
    error = caught(
        lambda: socket.create_connection(("127.0.0.1", closed_port())), DriverError("Connection refused by 10.0.0.1")
    )
    assert faults.connection_cause(error) == ""


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("timed out"), "timed out"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "TLS: "),
        (OSError(113, "No route to host"), "no route to host"),
        (OSError(2, "No such file or directory"), ""),
        (ValueError("no number"), ""),
    ],
)
def test_reasons_of_the_operating_system(error: Exception, reason: str) -> None:
    found = faults.connection_cause(caught(lambda: fail(error), DriverError("set-up failed")))
    assert found.startswith(reason)
    assert bool(found) is bool(reason)


def test_an_endless_chain_ends() -> None:
    first, second = DriverError("a"), DriverError("b")
    first.__cause__, second.__cause__ = second, first
    assert faults.connection_cause(first) == ""
