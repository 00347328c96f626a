"""CSI Identity service. It answers from the start and never blocks."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from google.protobuf.wrappers_pb2 import BoolValue

from csi_cinderlib.csi.readiness import Readiness
from csi_cinderlib.csi.v1 import csi_pb2

_SERVICES = csi_pb2.PluginCapability.Service


class Identity:
    """Name, version and capabilities of the driver.

    Args:
        name: name of the driver, at most 63 characters (checked by the settings).
        version: version of this program.
        services: names of the CSI services of this process.
        has_topology: at least one back end is not reachable from everywhere.
    """

    SERVICE: ClassVar[str] = "Identity"

    def __init__(
        self, *, name: str, version: str, readiness: Readiness, services: Collection[str], has_topology: bool = False
    ) -> None:
        self._name = name
        self._version = version
        self._readiness = readiness
        self._services = services
        self._has_topology = has_topology

    def GetPluginInfo(self, _request: csi_pb2.GetPluginInfoRequest) -> csi_pb2.GetPluginInfoResponse:
        return csi_pb2.GetPluginInfoResponse(name=self._name, vendor_version=self._version)

    def GetPluginCapabilities(
        self, _request: csi_pb2.GetPluginCapabilitiesRequest
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        offered = {
            _SERVICES.CONTROLLER_SERVICE: "Controller" in self._services,
            _SERVICES.GROUP_CONTROLLER_SERVICE: "GroupController" in self._services,
            _SERVICES.VOLUME_ACCESSIBILITY_CONSTRAINTS: self._has_topology,
        }
        answer = csi_pb2.GetPluginCapabilitiesResponse()
        for kind, is_offered in offered.items():
            if is_offered:
                answer.capabilities.add(service=_SERVICES(type=kind))
        expansion = csi_pb2.PluginCapability.VolumeExpansion
        answer.capabilities.add(volume_expansion=expansion(type=expansion.ONLINE))
        return answer

    def Probe(self, _request: csi_pb2.ProbeRequest) -> csi_pb2.ProbeResponse:
        """Never fails: the sidecars exit on FAILED_PRECONDITION."""
        return csi_pb2.ProbeResponse(ready=BoolValue(value=not self._readiness.reasons))
