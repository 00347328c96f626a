"""Why an array could not be reached, where its driver does not say it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import pytest
import requests

from csi_cinderlib.cinder import causes, faults


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


def test_a_refused_connection_is_named_with_its_address(closed_port: int) -> None:
    address = f"127.0.0.1:{closed_port}"
    error = caught(lambda: requests.get(f"http://{address}/api", timeout=60), DriverError("NetApp API failed. unknown"))
    assert causes.connection_cause(error) == f"connection refused to {address}"
    translated = faults.translate_setup("array", "x.Driver", error)
    assert str(translated).endswith(f"NetApp API failed. unknown (connection refused to {address})")


def test_without_an_address_the_reason_alone_is_given(closed_port: int) -> None:
    error = caught(lambda: socket.create_connection(("127.0.0.1", closed_port)), DriverError("login failed"))
    assert causes.connection_cause(error) == "connection refused"


def test_what_the_driver_says_itself_is_not_said_again(closed_port: int) -> None:
    error = caught(
        lambda: socket.create_connection(("127.0.0.1", closed_port)), DriverError("Connection refused by 10.0.0.1")
    )
    assert causes.connection_cause(error) == ""


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
    found = causes.connection_cause(caught(lambda: fail(error), DriverError("set-up failed")))
    assert found.startswith(reason)
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("error", "clause"),
    [
        (TimeoutError("timed out"), "timed out: array:443"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known: array:443"),
        (ssl.SSLError(1, "handshake failure"), "TLS: handshake failure at array:443"),
        (OSError(104, "Connection reset by peer"), "connection reset by array:443"),
        (OSError(113, "No route to host"), "no route to host array:443"),
        (OSError(101, "Network is unreachable"), "network is unreachable: array:443"),
    ],
)
def test_reasons_are_told_with_the_place(error: Exception, clause: str) -> None:
    pool = DriverError("set-up failed: HTTPSConnectionPool(host='array', port=443)")
    assert causes.connection_cause(caught(lambda: fail(error), pool)) == clause


def test_a_place_that_the_driver_leaves_out_is_told_with_the_reason_that_it_gives() -> None:
    inner = caught(lambda: fail(TimeoutError("timed out")), OSError("HTTPConnectionPool(host='array', port=80)"))
    error = caught(lambda: fail(inner), DriverError("login timed out"))
    assert causes.connection_cause(error) == "timed out: array:80"


def test_an_endless_chain_ends() -> None:
    first, second = DriverError("a"), DriverError("b")
    first.__cause__, second.__cause__ = second, first
    assert causes.connection_cause(first) == ""
