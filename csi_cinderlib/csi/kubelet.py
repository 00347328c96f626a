"""What Kubernetes wants from a node's plugin besides CSI, so that it needs no sidecars: registration with the kubelet, and
health over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import grpc

from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.server import Server
from csi_cinderlib.csi.v1 import csi_pb2
from csi_cinderlib.csi.v1 import pluginregistration_pb2 as registration_pb2
from csi_cinderlib.observe import logs, redact, web

CSI_VERSIONS = ("1.0.0",)
"""What the kubelet asks for, of every CSI 1.x driver."""
PROBE_SECONDS = 3.0
TEXT = "text/plain; charset=utf-8"

_log = logs.logger(__name__)


class Registration:
    """The kubelet's plugin registration service (pluginregistration/v1).

    Args:
        name: the CSI driver's name.
        socket: the CSI socket as the kubelet sees it: a path on the host.
    """

    SERVICE: ClassVar[str] = "Registration"

    def __init__(self, *, name: str, socket: Path) -> None:
        self._name = name
        self._socket = socket

    def GetInfo(self, _request: registration_pb2.InfoRequest) -> registration_pb2.PluginInfo:
        return registration_pb2.PluginInfo(
            type="CSIPlugin", name=self._name, endpoint=str(self._socket), supported_versions=CSI_VERSIONS
        )

    def NotifyRegistrationStatus(
        self, request: registration_pb2.RegistrationStatus
    ) -> registration_pb2.RegistrationStatusResponse:
        """The kubelet asks again by itself after a failure, as long as the socket is there."""
        if request.plugin_registered:
            _log.info("registered with the kubelet", driver=self._name)
        else:
            _log.error("the kubelet refused the registration", driver=self._name, reason=request.error)
        return registration_pb2.RegistrationStatusResponse()


def registration_server(directory: Path, *, name: str, socket: Path) -> Server:
    """A server in the kubelet's plugins_registry directory; start it when NodeGetInfo can be answered, for the kubelet asks that next.

    Raises:
        ConfigurationError: the directory cannot hold a socket.
    """
    return Server(
        str(directory / f"{name}-reg.sock"),
        identity=Registration(name=name, socket=socket),
        readiness=Readiness(),
        workers=2,
        descriptors=registration_pb2.DESCRIPTOR.services_by_name,
    )


def serve_health(address: str, socket: Path, readiness: Readiness) -> Callable[[], None]:
    """Answer GET /healthz (a restart would not help) and /readyz (it can work) at `HOST:PORT`; call the result to stop.

    Both ask over the CSI socket, by a connection of their own, as the sidecar livenessprobe does: that a thread of this
    process is alive says nothing of the others.

    Args:
        readiness: a standby can do no more than wait, so its /readyz is good: a Deployment would otherwise never be complete, and
            a disruption budget would never let the active one go.

    Raises:
        ConfigurationError: that is no address, or it cannot be listened on.
    """

    def page(*, must_be_ready: bool) -> web.Answer:
        if trouble := readiness.trouble:
            return 503, TEXT, f"{trouble}\n".encode()
        is_ready, said = _probe(socket)
        if is_ready is False and must_be_ready and not readiness.stands_by:
            why = redact.text("; ".join(readiness.reasons)) or said
            return 503, TEXT, f"{why}\n".encode(errors="replace")
        return (503 if is_ready is None else 200), TEXT, f"{said}\n".encode()

    pages = {"/healthz": lambda: page(must_be_ready=False), "/readyz": lambda: page(must_be_ready=True)}
    return web.serve("health_address", address, pages)


def _probe(socket: Path) -> tuple[bool | None, str]:
    """Whether it is ready, None without an answer; and what to say of that."""
    # A pool of its own, or gRPC would share one connection among all channels to this socket.
    with grpc.insecure_channel(f"unix:{socket}", options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        # Not by the generated stubs: those of all services come with them.
        probe = channel.unary_unary(
            "/csi.v1.Identity/Probe",
            request_serializer=csi_pb2.ProbeRequest.SerializeToString,
            response_deserializer=csi_pb2.ProbeResponse.FromString,
        )
        try:
            answer = probe(csi_pb2.ProbeRequest(), timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return None, f"no answer within {PROBE_SECONDS:.0f} s: {error.code().name}"
    return answer.ready.value, "ok"
