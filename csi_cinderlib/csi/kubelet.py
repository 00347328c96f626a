"""Registration with the kubelet and health checks over HTTP, so that a plugin needs no sidecars for them."""

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
"""The kubelet expects this version from every CSI 1.x driver."""
PROBE_SECONDS = 3.0
TEXT = "text/plain; charset=utf-8"

_log = logs.logger(__name__)


class Registration:
    """The kubelet's plugin registration service (pluginregistration/v1).

    Args:
        name: the CSI driver's name.
        socket: path of the CSI socket on the host, as the kubelet sees it.
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
        """After a failure the kubelet retries by itself, as long as the socket exists."""
        if request.plugin_registered:
            _log.info("registered with the kubelet", driver=self._name)
        else:
            _log.error("kubelet registration refused", driver=self._name, reason=request.error)
        return registration_pb2.RegistrationStatusResponse()


def registration_server(directory: Path, *, name: str, socket: Path) -> Server:
    """A server in the kubelet's plugins_registry directory. Start it once NodeGetInfo works: the kubelet calls that next.

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
    """Serve GET /healthz (no restart needed) and /readyz (ready to work) at `HOST:PORT`; call the result to stop.

    Both send Probe over the CSI socket on a connection of their own, as the sidecar livenessprobe does: one live thread does not
    prove that the others work.

    Args:
        readiness: a standby reports ready on /readyz. Otherwise a Deployment would never be complete, and a disruption budget would
            never allow the eviction of the active controller.

    Raises:
        ConfigurationError: the address is invalid or cannot be used.
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
    """Whether the driver is ready (None: no answer), and a text that explains it."""
    # Without its own pool, gRPC would share one connection between all channels to this socket.
    with grpc.insecure_channel(f"unix:{socket}", options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        # The generated stubs would load the stubs of all services.
        probe = channel.unary_unary(
            "/csi.v1.Identity/Probe",
            request_serializer=csi_pb2.ProbeRequest.SerializeToString,
            response_deserializer=csi_pb2.ProbeResponse.FromString,
        )
        try:
            answer = probe(csi_pb2.ProbeRequest(), timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return None, f"no response within {PROBE_SECONDS:.0f} s: {error.code().name}"
    return answer.ready.value, "ok"
