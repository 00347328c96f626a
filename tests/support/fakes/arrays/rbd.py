"""Ceph RBD over iSCSI: the driver sets and removes the image's own configuration."""

from __future__ import annotations

from typing import Any

from cinder.volume.drivers import rbd
from cinder.volume.drivers.ceph import rbd_iscsi

from tests.support.fakes.arrays.recording import Recording

_KEYS = {value["ceph_key"]: f"qos/{key}" for key, value in rbd.QOS_KEY_MAP.items() if key != "total_iops_sec_max"}


class RBDISCSIDriver(Recording, rbd_iscsi.RBDISCSIDriver):  # type: ignore[misc]  # Cinder has no types
    @classmethod
    def prepare(cls, patch: Any) -> None:
        patch.setattr(rbd, "RBDVolumeProxy", lambda driver, *_, **__: driver)
        patch.setattr("tenacity.nap.sleep", lambda _: None)

    def connect_array(self) -> None:
        """The driver is its own image."""
        self._is_replication_enabled = False

    def __enter__(self) -> RBDISCSIDriver:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _supports_qos(self) -> bool:
        return True

    def config_list(self) -> list[dict[str, str]]:
        return [{"name": name, "value": self.found.get(key, "0")} for name, key in _KEYS.items()]

    def config_set(self, name: str, value: str) -> None:
        if self.refuses:
            raise OSError("EINVAL")
        self.found[_KEYS[name]] = value

    def config_remove(self, name: str) -> None:
        if self.refuses:
            raise OSError("EINVAL")
        del self.found[_KEYS[name]]  # as librbd, it fails if the image has no such key
