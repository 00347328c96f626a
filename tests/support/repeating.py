"""Calls that are refused for the moment, repeated as the sidecars and the kubelet do; and looks, until they show what they should."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import grpc

T = TypeVar("T")
PAUSE = 0.1


def repeated(call: Callable[[], T], *, seconds: float = 60.0) -> T:
    """What it answers at last. A node that has just started, say, may be looking through what an earlier process left of a volume."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def until(holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
