"""A Cinder driver of the old kind: no pools in its report, capacities that it does not know, no model updates."""

from __future__ import annotations

from typing import Any

from cinder.volume import driver

from tests.support.fakes.nothing import NothingDriver


class LegacyDriver(NothingDriver):
    """Reports one unnamed pool of unknown size."""

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        return {
            "volume_backend_name": self.configuration.volume_backend_name,
            "vendor_name": "Nobody",
            "driver_version": "0.1",
            "storage_protocol": ["iSCSI", "iscsi"],
            "total_capacity_gb": "infinite",
            "free_capacity_gb": "unknown",
            "reserved_percentage": 0,
        }

    def create_volume(self, volume: Any) -> Any:
        super().create_volume(volume)

    def create_snapshot(self, snapshot: Any) -> Any:
        super().create_snapshot(snapshot)

    revert_to_snapshot = driver.VolumeDriver.revert_to_snapshot  # that is: it cannot


class UnsupportedDriver(LegacyDriver):
    """One whose vendor stopped testing it."""

    SUPPORTED = False
