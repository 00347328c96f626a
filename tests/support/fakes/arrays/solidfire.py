"""SolidFire: the driver sends `ModifyVolume` with the limits."""

from __future__ import annotations

from typing import Any

from cinder.volume.drivers import solidfire

from tests.support.fakes.arrays.recording import Recording


class SolidFireDriver(Recording, solidfire.SolidFireDriver):  # type: ignore[misc]  # Cinder has no types
    def connect_array(self) -> None:
        self.replication_enabled = False
        self.target_driver = None

    def _get_sfaccount(self, project_id: str) -> dict[str, int]:
        return {"accountID": 1}

    def _issue_api_request(self, method: str, params: Any, *_: Any, **__: Any) -> Any:
        if method == "ListVolumesForAccount":
            each = [{"status": "active", "name": id, "volumeID": 7, "attributes": {"uuid": id}} for id in self.volumes]
            return {"result": {"volumes": each}}
        assert (method, params["volumeID"]) == ("ModifyVolume", 7)
        if self.refuses:
            raise solidfire.SolidFireAPIException("xInvalidParameter")
        self.found |= {f"qos/{key}": str(value) for key, value in params.get("qos", {}).items()}
        return {"result": {}}
