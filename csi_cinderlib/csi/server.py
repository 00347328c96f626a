"""The gRPC server on a unix socket. It answers at once; services that take longer to load are added later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from concurrent import futures
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from csi_cinderlib.csi import endpoint as sockets
from csi_cinderlib.csi.interceptors import RpcMetrics, Surroundings, Undecodable, reader
from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.errors import NotReady

WORKERS = 128
QUICK_WORKERS = 4
"""Threads for calls that only read memory. They never wait behind storage work."""

QUICK = frozenset({"ControllerGetCapabilities", "GroupControllerGetCapabilities", "NodeGetCapabilities", "NodeGetInfo"})
"""Quick calls, in addition to all calls of Identity."""

CREATING = frozenset(
    {
        "CreateVolume",
        "CreateSnapshot",
        "CreateVolumeGroupSnapshot",
        "ControllerExpandVolume",
        "ControllerModifyVolume",
    }
)
"""Calls that may take minutes and arrive in hundreds. They have their own threads, so that other calls do not wait behind them."""

MEASURING = frozenset({"NodeGetVolumeStats"})
"""Calls that are repeated for every volume and block on a hanging share or device. They have their own threads."""
MEASURING_WORKERS = 32

STUCK_SECONDS = 300.0
"""A pool counts as stuck when all its threads are busy and no call ends for this time."""

ENDING_SECONDS = 5.0
"""Additional time for gRPC to cancel calls that did not finish. It needs its own thread for that."""

MAX_CONNECTIONS = 500
"""Simultaneous connections. Each takes 14 KB and one of 1024 file descriptors. Further connections are closed at once, and the caller
retries. The kubelet opens a connection for each call. Each sidecar keeps one open and exits when it is closed (csi-lib-utils,
OnConnectionLoss), so idle connections are never closed.
"""

INTRODUCTION_MS = 20_000
"""Time for the HTTP/2 handshake. A connection without a handshake would take the place of a client."""

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.server_handshake_timeout_ms", INTRODUCTION_MS),
    ("grpc.http2.settings_timeout", INTRODUCTION_MS),
    ("grpc.http2.max_ping_strikes", 0),  # sidecars ping idle connections, which is harmless on a local socket
)


class Service(Protocol):
    """A CSI service. It has a method for each RPC that takes the request and returns the response, or raises."""

    SERVICE: ClassVar[str]
    """Its name in the protocol."""


class Server:
    """The services of one process.

    Args:
        endpoint: see `endpoint.parse`.
        identity: served from the start.
        expected: names of services that are added later. Until then their calls fail with UNAVAILABLE and the reason of `readiness`.
        workers: threads for calls that create objects, and the same number for other storage calls.

    Raises:
        ConfigurationError: the endpoint is invalid.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        identity: Service,
        readiness: Readiness,
        expected: Collection[str] = (),
        workers: int = WORKERS,
        descriptors: Mapping[str, ServiceDescriptor] = csi_pb2.DESCRIPTOR.services_by_name,
    ) -> None:
        self.path: Path = sockets.parse(endpoint)
        self._surroundings = Surroundings()
        self._quick = _Threads("quick", QUICK_WORKERS)
        self._creating = _Threads("creating", workers)
        self._storage = _Threads("storage", workers)
        self._measuring = _Threads("measuring", MEASURING_WORKERS)
        self._router = _Router(
            self._surroundings,
            readiness,
            descriptors,
            quick=self._quick,
            creating=self._creating,
            storage=self._storage,
            measuring=self._measuring,
        )
        for name in expected:
            self._router.expect(name)
        self._router.add(identity)
        self._server = grpc.server(self._storage.pool, handlers=[self._router], options=OPTIONS)
        self._bound: sockets.Bound | None = None

    def start(self) -> None:
        """Listen and answer.

        Raises:
            ConfigurationError: the socket cannot be created.
        """
        for threads in (self._quick, self._creating, self._storage, self._measuring):
            threads.pool.start()
        with sockets.taking(self.path):
            self._server.add_insecure_port(f"unix:{self.path}")
            self._server.start()
            self._bound = sockets.bound(self.path)

    def add(self, *services: Service) -> None:
        """Add services, even while the server runs."""
        for service in services:
            self._router.add(service)

    def measure(self, metrics: RpcMetrics) -> None:
        """Report metrics there from now on."""
        self._surroundings.metrics = metrics

    def stuck(self, waiting: Set[int]) -> str:
        """Why no further call is executed, or "": all threads of a pool are busy, and no call ends.

        The pool for calls that only measure does not count, because it does not delay other calls.

        Args:
            waiting: threads whose calls wait for back ends; they do not count as stuck.
        """
        return self._creating.stuck(waiting) or self._storage.stuck(waiting)

    def stop(self, grace: float) -> bool:
        """Refuse new calls, wait up to `grace` seconds for running calls, and remove the socket; returns whether all calls finished.

        This includes calls whose callers have gone. gRPC does not count them, and the answer of a back end would be lost. A call that
        does not finish loses its caller but not its thread; its record tells the next process how to continue.
        """
        deadline = time.monotonic() + grace
        self._server.stop(grace).wait(grace + ENDING_SECONDS)
        if self._bound:
            self._bound.remove()
        self._quick.pool.shutdown(wait=False)
        for threads in (self._creating, self._storage, self._measuring):
            threads.pool.shutdown(wait=False, cancel_futures=True)
        return self._surroundings.wait_until_idle(max(0.0, deadline - time.monotonic()))

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the server has stopped; False after `seconds`."""
        return not self._server.wait_for_termination(seconds)


class _Pool(futures.ThreadPoolExecutor):
    """Continues with the existing threads when no further thread can be started, for instance at the pid limit of a pod.

    An error would end the thread of gRPC, and with it the service (`_serve` in _server.py of grpcio).
    """

    def start(self) -> None:
        """Start at least one thread. Raises RuntimeError."""
        self.submit(_nothing).result()

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def _nothing() -> None:
    """A task that only starts a thread."""


class _Threads:
    """A pool of threads for calls."""

    def __init__(self, name: str, count: int) -> None:
        self.pool = _Pool(count, thread_name_prefix=name)
        self._name = name
        self._count = count
        self._at_work: set[int] = set()
        self._changed_at = time.monotonic()
        self._guard = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Mark this thread of the pool as busy with a call."""
        thread = threading.get_ident()
        with self._guard:
            self._at_work.add(thread)
            self._changed_at = time.monotonic()
        try:
            yield
        finally:
            with self._guard:
                self._at_work.remove(thread)
                self._changed_at = time.monotonic()

    def stuck(self, waiting: Set[int]) -> str:
        """See `Server.stuck`."""
        with self._guard:
            is_taken = len(self._at_work) == self._count and time.monotonic() - self._changed_at > STUCK_SECONDS
            others = self._at_work - waiting
        if not is_taken or not others:
            return ""
        return f"all {self._count} threads of the pool {self._name!r} are busy, and no call has ended for {STUCK_SECONDS:.0f} s"


class _Behavior:
    """One RPC as gRPC calls it. gRPC runs it in `experimental_thread_pool` (_server.py of grpcio; a test verifies this)."""

    def __init__(self, run: Callable[[Any, grpc.ServicerContext], Message], threads: _Threads) -> None:
        self._run = run
        self._threads = threads
        self.experimental_thread_pool = threads.pool

    def __call__(self, request: Message | Undecodable, context: grpc.ServicerContext) -> Message:
        with self._threads.taken():
            return self._run(request, context)


class _Router(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic only in the stubs
    """Finds the handler of a call. Unlike the router of gRPC, it can announce services first and add them later."""

    def __init__(
        self,
        surroundings: Surroundings,
        readiness: Readiness,
        descriptors: Mapping[str, ServiceDescriptor],
        *,
        quick: _Threads,
        creating: _Threads,
        storage: _Threads,
        measuring: _Threads,
    ) -> None:
        self._surroundings = surroundings
        self._readiness = readiness
        self._descriptors = descriptors
        self._quick = quick
        self._creating = creating
        self._storage = storage
        self._measuring = measuring
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """None makes gRPC answer UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    def expect(self, name: str) -> None:
        for method in self._descriptors[name].methods:
            self._put(method, self._not_ready)

    def add(self, service: Service) -> None:
        descriptor = self._descriptors[service.SERVICE]
        for method in descriptor.methods:
            act = getattr(service, method.name, None)
            if act is not None:
                self._put(method, act)
            else:
                self._handlers.pop(_path(method), None)

    def _put(self, method: MethodDescriptor, act: Callable[[Any], Message]) -> None:
        threads = self._quick if act == self._not_ready else self._threads(method)
        behavior = _Behavior(partial(self._surroundings.call, method.name, act), threads)
        response = GetMessageClass(method.output_type)
        self._handlers[_path(method)] = grpc.unary_unary_rpc_method_handler(
            behavior,
            request_deserializer=reader(GetMessageClass(method.input_type)),
            response_serializer=response.SerializeToString,
        )

    def _threads(self, method: MethodDescriptor) -> _Threads:
        if method.containing_service.name == "Identity" or method.name in QUICK:
            return self._quick
        if method.name in CREATING:
            return self._creating
        return self._measuring if method.name in MEASURING else self._storage

    def _not_ready(self, _request: Message) -> Message:
        raise NotReady(self._readiness.why_not or "this process is still starting")


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"
