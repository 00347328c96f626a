"""The gRPC server on a unix socket. It answers at once; what takes longer to load joins later."""

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
"""Threads for the calls that only look at memory. They never wait behind storage work."""

QUICK = frozenset({"ControllerGetCapabilities", "GroupControllerGetCapabilities", "NodeGetCapabilities", "NodeGetInfo"})
"""The quick calls, besides all of Identity."""

CREATING = frozenset({"CreateVolume", "CreateSnapshot", "CreateVolumeGroupSnapshot", "ControllerExpandVolume"})
"""Calls that may take minutes and come in hundreds. They have threads of their own, so that others do not wait behind them."""

MEASURING = frozenset({"NodeGetVolumeStats"})
"""Calls that come for every volume again and again, and wait for a share or device that hangs. They have threads of their own."""
MEASURING_WORKERS = 32

STUCK_SECONDS = 300.0
"""After which calls that have all threads, and of which none ends, are not taken for work any more."""

ENDING_SECONDS = 5.0
"""For gRPC to end what has not finished in time. Without its thread it never does."""

MAX_CONNECTIONS = 500
"""At one time; each takes 14 KB, and a descriptor of 1024. A further one is closed at once, and its caller tries again. The kubelet opens
one for each call, and each sidecar keeps one for ever: it exits when an idle one is closed (csi-lib-utils, OnConnectionLoss), so none is.
"""

INTRODUCTION_MS = 20_000
"""For a connection to begin as HTTP/2 does. What connects and says nothing is no client, and takes the place of one."""

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.server_handshake_timeout_ms", INTRODUCTION_MS),
    ("grpc.http2.settings_timeout", INTRODUCTION_MS),
    ("grpc.http2.max_ping_strikes", 0),  # sidecars ping idle connections; that is no attack on a local socket
)


class Service(Protocol):
    """A CSI service: a method for each of its RPCs that takes the request and returns the response, or raises."""

    SERVICE: ClassVar[str]
    """Its name in the protocol."""


class Server:
    """The services of one process.

    Args:
        endpoint: see `endpoint.parse`.
        identity: answers from the start.
        expected: names of the services that will be added; until then their calls get UNAVAILABLE with `readiness`' reason.
        workers: threads for calls that create something, and as many for other storage calls.

    Raises:
        ConfigurationError: the endpoint is wrong.
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
            ConfigurationError: the socket cannot be had; says why.
        """
        for threads in (self._quick, self._creating, self._storage, self._measuring):
            threads.pool.start()
        with sockets.taking(self.path):
            self._server.add_insecure_port(f"unix:{self.path}")
            self._server.start()
            self._bound = sockets.bound(self.path)

    def add(self, *services: Service) -> None:
        """Serve these from now on; also while running."""
        for service in services:
            self._router.add(service)

    def measure(self, metrics: RpcMetrics) -> None:
        """Send figures there from now on."""
        self._surroundings.metrics = metrics

    def stuck(self, waiting: Set[int]) -> str:
        """Why no further call is carried out: calls have all threads of a pool, and none of them ends; "" otherwise.

        Calls that only measure do not count: the others are carried out all the same.

        Args:
            waiting: threads whose calls wait for back ends, which is no fault of this process.
        """
        return self._creating.stuck(waiting) or self._storage.stuck(waiting)

    def stop(self, grace: float) -> bool:
        """Take no new calls and let those that run finish within `grace` seconds, then remove the socket; whether they did.

        Also those whose callers have gone: gRPC does not count them, and what a back end is about to answer would be lost. A call that
        did not finish loses its caller, not its thread: its record tells the next process what to do.
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
        """Wait until the server has stopped; False when the time was over first."""
        return not self._server.wait_for_termination(seconds)


class _Pool(futures.ThreadPoolExecutor):
    """Leaves calls to the threads that it has when no further one can be started, as at the limit of a pod's processes.

    An error would end gRPC's own thread, and with it the service for good (grpcio's _server.py, `_serve`).
    """

    def start(self) -> None:
        """Have one thread in any case. Raises RuntimeError."""
        self.submit(_nothing).result()

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def _nothing() -> None:
    """To do."""


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
        """A call is at work in this thread of the pool."""
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
        return f"none of the calls in the {self._count} threads of the pool {self._name!r} has ended for {STUCK_SECONDS:.0f} s"


class _Behavior:
    """One RPC as gRPC calls it. gRPC runs it in `experimental_thread_pool` (grpcio's _server.py; a test watches that this holds)."""

    def __init__(self, run: Callable[[Any, grpc.ServicerContext], Message], threads: _Threads) -> None:
        self._run = run
        self._threads = threads
        self.experimental_thread_pool = threads.pool

    def __call__(self, request: Message | Undecodable, context: grpc.ServicerContext) -> Message:
        with self._threads.taken():
            return self._run(request, context)


class _Router(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Finds the handler of a call. Unlike gRPC's own, services may be expected first and added later."""

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
        """None is gRPC's UNIMPLEMENTED."""
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
