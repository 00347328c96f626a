"""Dell SC: the driver looks for profiles, and sets them in the configuration of the volume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from cinder.volume.drivers.dell_emc.sc import storagecenter_api, storagecenter_fc, storagecenter_iscsi

from tests.support.fakes.arrays.recording import Recording

_KEYS = {
    "storageProfile": "extraSpecs/storagetype:storageprofile",
    "dataReductionProfile": "extraSpecs/storagetype:datareductionprofile",
}


def _answer(content: Any = None, code: int = 200) -> Any:
    return SimpleNamespace(status_code=code, json=lambda: content, text="no", reason="no", url="")


class _Array(Recording):
    def connect_array(self) -> None:
        self._client = SimpleNamespace(open_connection=self._open)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        api = storagecenter_api.SCApi.__new__(storagecenter_api.SCApi)
        api.ssn, api.apiversion, api.legacypayloadfilters = 1, "4.1", False
        api.client = SimpleNamespace(post=self._post, put=self._put)
        api.find_volume = lambda *_: {"name": "volume", "instanceId": "v"}
        api._get_user_preferences = lambda: {
            "allowStorageProfileSelection": True,
            "allowDataReductionSelection": True,
            "storageProfile": {"name": "default", "instanceId": "default"},
            "dataReductionProfile": {"name": "default", "instanceId": "default"},
        }
        yield api

    def _post(self, url: str, payload: Any, *_: Any) -> Any:
        if "StorageProfile" in url:
            return _answer([{"name": name, "instanceId": name} for name in ("one", "two")])
        wanted = next(
            item["attributeValue"] for item in payload["filter"]["filters"] if item["attributeName"] == "type"
        )
        return _answer([{"name": wanted, "instanceId": wanted}])

    def _put(self, url: str, payload: Any, *_: Any) -> Any:
        assert url == "StorageCenter/ScVolumeConfiguration/v"
        if self.refuses:
            return _answer(code=400)
        self.found |= {_KEYS[key]: value for key, value in payload.items()}
        return _answer()


class SCFCDriver(_Array, storagecenter_fc.SCFCDriver):  # type: ignore[misc]  # Cinder has no types
    """Fibre Channel."""


class SCISCSIDriver(_Array, storagecenter_iscsi.SCISCSIDriver):  # type: ignore[misc]
    """iSCSI."""
