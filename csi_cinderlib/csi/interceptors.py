"""Wraps every call: request id, one log line, metrics, and the conversion of errors to gRPC codes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from csi_cinderlib.csi import secrets, status
from csi_cinderlib.errors import DriverError, InvalidRequest
from csi_cinderlib.model.ids import random_hex
from csi_cinderlib.observe import logs, redact
from csi_cinderlib.observe.unmeasured import Unmeasured

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

CHATTER = frozenset(
    {"Probe", "GetPluginInfo", "GetPluginCapabilities", "ControllerGetCapabilities", "GroupControllerGetCapabilities",
     "NodeGetCapabilities", "NodeGetInfo", "NodeGetVolumeStats", "GetInfo"}
)  # fmt: skip
"""Polled every few seconds; logged at debug level unless the call fails."""

IDENTIFYING = (
    "name", "volume_id", "snapshot_id", "group_snapshot_id", "node_id", "source_volume_id", "volume_path", "target_path",
    "staging_target_path",
)  # fmt: skip
"""Request fields that are logged."""

_log = logs.logger(__name__)


class RpcMetrics(Protocol):
    """Receives the metrics: `observe.metrics.Metrics` or `Unmeasured`."""

    def rpc(self, method: str, code: str, seconds: float) -> None: ...
    def running(self) -> AbstractContextManager[None]: ...


class Undecodable:
    """Stands for a request that cannot be decoded. gRPC itself would answer INTERNAL."""


def reader(kind: type[Request]) -> Callable[[bytes], Request | Undecodable]:
    """A deserializer that leaves errors to `Surroundings.call`."""

    def read(data: bytes) -> Request | Undecodable:
        try:
            return kind.FromString(data)
        except (DecodeError, UnicodeDecodeError):
            return Undecodable()

    return read


class Surroundings:
    """Runs calls. `metrics` may be set later, so that their import does not delay the first answers."""

    def __init__(self, metrics: RpcMetrics | None = None) -> None:
        self.metrics: RpcMetrics = metrics or Unmeasured()
        self._working = 0
        self._ended_one = threading.Condition()

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no thread works on a call, including calls whose caller has gone; False after `seconds`."""
        with self._ended_one:
            return self._ended_one.wait_for(lambda: not self._working, seconds)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._ended_one:
            self._working += 1
        try:
            with self.metrics.running():
                yield
        finally:
            with self._ended_one:
                self._working -= 1
                self._ended_one.notify_all()

    def call(
        self,
        method: str,
        act: Callable[[Request], Response],
        request: Request | Undecodable,
        context: grpc.ServicerContext,
    ) -> Response:
        """Run `act`, log it and measure it. An error ends the call with a code and a message, never with details."""
        id, began = random_hex(8), perf_counter()
        with logs.request(id), redact.hiding(_secrets(request)), self._counted():
            self._begun(method, request)
            try:
                response = act(_decoded(request))
            except Exception as error:  # the caller gets a code for any error
                code, said = status.code(error), status.message(error, id)
                self._ended(method, code, began, request, context, error)
                context.abort(code, said)
            self._ended(method, grpc.StatusCode.OK, began, request, context, None)
            return response

    def _begun(self, method: str, request: Message | Undecodable) -> None:
        if method not in CHATTER and _log.enabled("debug") and not isinstance(request, Undecodable):
            _log.debug("request", method=method, body=secrets.shown(request))

    def _ended(
        self,
        method: str,
        code: grpc.StatusCode,
        began: float,
        request: Message | Undecodable,
        context: grpc.ServicerContext,
        error: Exception | None,
    ) -> None:
        seconds = perf_counter() - began
        self.metrics.rpc(method, code.name, seconds)
        values: dict[str, object] = {
            "method": method,
            "code": code.name,
            "seconds": round(seconds, 6),
            **_about(request),
        }
        if not context.is_active():
            values["abandoned"] = True  # the caller's deadline has passed; it will retry
        if error is None:
            (_log.debug if method in CHATTER else _log.info)("call", **values)
        elif not isinstance(error, DriverError):
            _log.exception("call", error, **values)
        else:
            (_log.error if code is grpc.StatusCode.INTERNAL else _log.warning)("call", **values, reason=str(error))


def _decoded(request: Request | Undecodable) -> Request:
    if isinstance(request, Undecodable):
        raise InvalidRequest("request", "cannot be decoded as the message of this call")
    return request


def _secrets(request: Message | Undecodable) -> frozenset[str]:
    return frozenset() if isinstance(request, Undecodable) else secrets.secrets_of(request)


def _about(request: Message | Undecodable) -> dict[str, object]:
    if isinstance(request, Undecodable):
        return {}
    names = request.DESCRIPTOR.fields_by_name
    return {name: value for name in IDENTIFYING if name in names and (value := getattr(request, name))}
