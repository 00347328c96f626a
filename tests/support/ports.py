"""Ports for what a test starts."""

from __future__ import annotations

import socket

_taken: list[socket.socket] = []


def free_port() -> int:
    """Free now, and given to no other test, whose server may start sooner: a name beside the port stands for it until this process ends."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0csi-cinderlib-test-port-{port}")
        except OSError:
            name.close()
            continue
        _taken.append(name)
        return port
