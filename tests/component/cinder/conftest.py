"""Back ends whose drivers run in this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.support.local_backends import backend, every_database_call_is_served, log, make, runtime, state, store

__all__ = ["backend", "every_database_call_is_served", "log", "make", "runtime", "state", "store"]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody listens at, nor can begin to meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])
