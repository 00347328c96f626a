"""Why an array could not be reached over SSH: Cinder's pool of sessions keeps the words of paramiko, which say little."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import paramiko  # type: ignore[import-untyped]  # it has no types, and no other test needs it
import pytest

from csi_cinderlib.cinder import faults
from csi_cinderlib.cinder.runtime import Runtime
from tests.component.cinder.test_causes import DriverError, caught

PASSWORD = "tr0ub4dor-and-3"


class Refusing(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko has no types
    """Takes no password."""

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        return int(paramiko.AUTH_FAILED)


@pytest.fixture
def listen() -> Iterator[Callable[[], socket.socket]]:
    """Sockets that listen, and take one connection without a word."""
    with ExitStack() as stack:

        def listening() -> socket.socket:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            return listener

        yield listening


@pytest.fixture
def server(listen: Callable[[], socket.socket]) -> Iterator[int]:
    """The port of an SSH server that refuses whoever comes."""
    listener = listen()
    transports: list[paramiko.Transport] = []
    key = paramiko.ECDSAKey.generate()

    def serve() -> None:
        with suppress(OSError, paramiko.SSHException):
            link, _ = listener.accept()
            transports.append(paramiko.Transport(link))
            transports[0].add_server_key(key)
            transports[0].start_server(server=Refusing())

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listener.getsockname()[1])
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    for transport in transports:
        transport.close()
        transport.join()


def log_in(runtime: Runtime, host: str, port: int, error: Exception | None = None) -> str:
    """What is told of a driver's set-up that cannot log in, and raises this error, or lets the pool's go through."""
    runtime.start()
    from cinder import ssh_utils

    def connect() -> None:
        ssh_utils.SSHPool(host, port, 1, "csi", password=PASSWORD, min_size=1)

    raised = caught(connect, error) if error is not None else failure(connect)
    return str(faults.translate_setup("array", "x.Driver", raised))


def failure(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def own_words() -> DriverError:
    return DriverError("cannot log in")


@pytest.mark.parametrize("error", [None, own_words()], ids=["of-the-pool", "of-the-driver"])
def test_a_refused_connection_is_named_with_its_address(
    runtime: Runtime, closed_port: int, error: Exception | None
) -> None:
    said = log_in(runtime, "127.0.0.1", closed_port, error)
    assert said.endswith(f"(connection refused to 127.0.0.1:{closed_port})")


def test_an_array_is_named_as_it_was_configured(runtime: Runtime, closed_port: int) -> None:
    assert log_in(runtime, "localhost", closed_port).endswith(f"(connection refused to localhost:{closed_port})")


def test_a_host_that_does_not_exist_is_named(runtime: Runtime) -> None:
    said = log_in(runtime, "no-such-array.invalid", 22)
    assert said.endswith(": no-such-array.invalid:22)")


def test_a_time_out_is_named_with_its_address(runtime: Runtime, listen: Callable[[], socket.socket]) -> None:
    address = listen().getsockname()
    with ExitStack() as waiting:
        for _ in range(3):  # until the kernel answers no further one
            waiter = waiting.enter_context(socket.socket())
            waiter.setblocking(False)
            waiter.connect_ex(address)
        assert log_in(runtime, *address).endswith(f"(timed out: 127.0.0.1:{address[1]})")


def test_a_server_that_says_nothing_is_named(runtime: Runtime, listen: Callable[[], socket.socket]) -> None:
    port = listen().getsockname()[1]
    assert log_in(runtime, "127.0.0.1", port).endswith(f"(no SSH server answers at 127.0.0.1:{port})")


@pytest.mark.parametrize("error", [None, own_words()], ids=["of-the-pool", "of-the-driver"])
def test_a_wrong_password_is_named_and_not_shown(runtime: Runtime, server: int, error: Exception | None) -> None:
    said = log_in(runtime, "127.0.0.1", server, error)
    assert f"(login refused by 127.0.0.1:{server}; check the user name, the password and the key)" in said
    assert PASSWORD not in said
