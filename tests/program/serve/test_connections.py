"""Connections to the socket: those of sidecars stay, too many are refused, and what they took is given back."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from csi_cinderlib.csi.server import INTRODUCTION_MS, MAX_CONNECTIONS
from csi_cinderlib.csi.v1 import csi_pb2, csi_pb2_grpc
from csi_cinderlib.demo.process import DriverProcess
from tests.program.serve.conftest import Start, until

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The first words of a client: the preface, and its settings. It does not acknowledge those of the server."""


@contextlib.contextmanager
def connections(driver: DriverProcess, count: int) -> Iterator[list[socket.socket]]:
    """Idle ones; some of them may be closed by the server."""
    with contextlib.ExitStack() as closing:
        opened = []
        for _ in range(count):
            client = closing.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.connect(str(driver.socket))
            with contextlib.suppress(OSError):
                client.sendall(HTTP2)
            opened.append(client)
        yield opened


def left(clients: Sequence[socket.socket]) -> int:
    """How many of them the server has not closed."""
    return sum(not _is_closed(client) for client in clients)


def _is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def descriptors(driver: DriverProcess) -> int:
    return len(list(Path(f"/proc/{driver.pid}/fd").iterdir()))


def memory(driver: DriverProcess) -> int:
    """Resident, in MiB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{driver.pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) // 1024


def answers(channel: grpc.Channel) -> bool:
    try:
        csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest(), timeout=60)
    except grpc.RpcError:
        return False
    return True


@pytest.fixture
def driver(start: Start) -> DriverProcess:
    process = start("--mode", "controller")
    process.wait_until_ready()
    return process


def test_too_many_connections_take_neither_memory_nor_those_that_are_there(driver: DriverProcess) -> None:
    before, used = descriptors(driver), memory(driver)
    for _ in range(3):
        with connections(driver, 4 * MAX_CONNECTIONS) as clients:
            until(lambda: left(clients) < MAX_CONNECTIONS, driver)
            assert left(clients) > MAX_CONNECTIONS // 2
            assert answers(driver.channel)
        until(lambda: descriptors(driver) <= before, driver)
        with grpc.insecure_channel(f"unix:{driver.socket}") as channel:
            assert answers(channel)
    assert memory(driver) < used + 32


def test_many_idle_connections_leave_room_for_a_new_one(driver: DriverProcess) -> None:
    with (
        connections(driver, MAX_CONNECTIONS - 10) as clients,
        grpc.insecure_channel(f"unix:{driver.socket}") as channel,
    ):
        assert answers(channel)
        assert left(clients) == MAX_CONNECTIONS - 10


def test_what_never_becomes_a_client_is_closed_and_a_client_stays(driver: DriverProcess) -> None:
    with connections(driver, 3) as clients, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.connect(str(driver.socket))
        assert answers(driver.channel)
        states: list[grpc.ChannelConnectivity] = []
        driver.channel.subscribe(states.append)
        until(lambda: left([*clients, silent]) == 0, driver, seconds=60 + INTRODUCTION_MS / 1000)
        assert set(states) <= {grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE}
        assert answers(driver.channel)
