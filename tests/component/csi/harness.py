"""How a test reaches a server that runs in its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Server
from csi_cinderlib.csi.v1 import csi_pb2_grpc


@dataclass(frozen=True)
class Client:
    """The four services' stubs on one channel."""

    channel: grpc.Channel
    identity: csi_pb2_grpc.IdentityStub
    controller: csi_pb2_grpc.ControllerStub
    group: csi_pb2_grpc.GroupControllerStub
    node: csi_pb2_grpc.NodeStub


@dataclass(frozen=True)
class Running:
    """A server that answers, and how to reach it."""

    server: Server
    readiness: Readiness
    client: Client


@contextmanager
def connected(path: Path) -> Iterator[Client]:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        yield Client(
            channel,
            csi_pb2_grpc.IdentityStub(channel),
            csi_pb2_grpc.ControllerStub(channel),
            csi_pb2_grpc.GroupControllerStub(channel),
            csi_pb2_grpc.NodeStub(channel),
        )


Serve = Callable[..., Running]


def failed(call: Any, request: Any, **options: Any) -> grpc.RpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60, **options)
    return caught.value


def code(error: Any) -> grpc.StatusCode:
    found = error.code()
    assert isinstance(found, grpc.StatusCode)
    return found
