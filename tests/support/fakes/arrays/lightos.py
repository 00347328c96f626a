"""LightOS: the driver assigns a policy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cinder.volume.drivers import lightos

from tests.support.fakes.arrays.recording import Recording


class LightOSVolumeDriver(Recording, lightos.LightOSVolumeDriver):  # type: ignore[misc]  # Cinder has no types
    def connect_array(self) -> None:
        self.cluster = SimpleNamespace(send_cmd=self._send)
        self.logical_op_timeout = 1

    def create_volume(self, volume: Any) -> dict[str, Any]:
        super().create_volume(volume)
        return {}

    def _send(self, cmd: str, timeout: int, **given: Any) -> tuple[int, Any]:
        if cmd != "set_volume_qos_policy":
            return 200, {"state": "Available", "UUID": "u", "name": "volume"}
        assert given["volume_uuid"] == "u"
        if self.refuses:
            return 400, {}
        self.found["extraSpecs/lightos:qos_policy"] = given["qos_policy"]
        return 200, {}
