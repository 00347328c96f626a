"""Ports for what a test starts."""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

_LOWEST, _FEWEST, _ATTEMPTS = 10000, 1000, 1000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_taken = ExitStack()


def free_port() -> int:
    """A port that stays free until the test's server uses it, and while that server is away.

    It is below the range that the kernel gives to the clients' ends of connections, if that leaves any, and no other test gets it: a
    socket whose name holds the number stands for it until this process ends.
    """
    first_of_clients = int(_RANGE.read_text().split()[0])
    lowest = max(1024, min(_LOWEST, first_of_clients // 2))
    end = first_of_clients if first_of_clients - lowest >= _FEWEST else 65536
    for _ in range(_ATTEMPTS):
        # Not by `random`, which begins anew with each test and alike in all processes of a run.
        port = lowest + secrets.randbelow(end - lowest)
        with ExitStack() as undo:
            name = undo.enter_context(socket.socket(socket.AF_UNIX))
            with socket.socket() as probe:
                try:
                    name.bind(f"\0csi-cinderlib-test-port-{port}")
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                    continue
            _taken.push(undo.pop_all())
            return port
    raise AssertionError(f"no port from {lowest} to {end - 1} is free")
