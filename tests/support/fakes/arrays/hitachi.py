"""Hitachi VSP and the arrays of HPE and NEC that are the same: the driver sets limits of the LDEV one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

from cinder import exception
from cinder.volume.drivers.hitachi import hbsd_fc, hbsd_iscsi, hbsd_rest_fc, hbsd_rest_iscsi
from cinder.volume.drivers.hpe.xp import hpe_xp_fc, hpe_xp_iscsi, hpe_xp_rest
from cinder.volume.drivers.nec.v import nec_v_fc, nec_v_iscsi, nec_v_rest

from tests.support.fakes.arrays.recording import Recording


class _Array(Recording):
    common_class: ClassVar[Any]
    location: ClassVar[Any] = {"pool_id": 1}

    def connect_array(self) -> None:
        self.common = self.common_class.__new__(self.common_class)
        self.common.driver_info = {"driver_dir_name": "hbsd", "driver_prefix": "HBSD"}
        self.common.client = self
        self.common.storage_id = "000000"
        self.common.request_thread_pool_executor = SimpleNamespace(shutdown=lambda **_: None)

    def get_ldev(self, ldev: int, **_: Any) -> dict[str, Any]:
        assert ldev == 5
        return {"poolId": 1, "attributes": ["HDP"], "dataReductionMode": "disabled", "dataReductionStatus": "DISABLED"}

    def get_ldevs(self, params: Any) -> list[dict[str, Any]]:
        assert params["headLdevId"] == 5
        return [{"qos": {key.removeprefix("qos/"): int(value) for key, value in self.found.items()}}]

    def set_qos_specs(self, ldev: int, specs: dict[str, Any]) -> None:
        assert ldev == 5
        if self.refuses:
            raise exception.VolumeDriverException("REST: 400")
        for key, value in specs.items():
            self.found.pop(f"qos/{key}", None)
            if value:
                self.found[f"qos/{key}"] = str(value)


class HBSDFCDriver(_Array, hbsd_fc.HBSDFCDriver):  # type: ignore[misc]  # Cinder has no types
    common_class = hbsd_rest_fc.HBSDRESTFC


class HBSDISCSIDriver(_Array, hbsd_iscsi.HBSDISCSIDriver):  # type: ignore[misc]
    common_class = hbsd_rest_iscsi.HBSDRESTISCSI


class HPEXPFCDriver(_Array, hpe_xp_fc.HPEXPFCDriver):  # type: ignore[misc]
    common_class = hpe_xp_rest.HPEXPRESTFC


class HPEXPISCSIDriver(_Array, hpe_xp_iscsi.HPEXPISCSIDriver):  # type: ignore[misc]
    common_class = hpe_xp_rest.HPEXPRESTISCSI


class VStorageFCDriver(_Array, nec_v_fc.VStorageFCDriver):  # type: ignore[misc]
    common_class = nec_v_rest.VStorageRESTFC


class VStorageISCSIDriver(_Array, nec_v_iscsi.VStorageISCSIDriver):  # type: ignore[misc]
    common_class = nec_v_rest.VStorageRESTISCSI
