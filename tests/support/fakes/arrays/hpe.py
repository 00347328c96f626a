"""HPE 3PAR and Alletra MP: the driver makes the volume's own set with a QoS rule."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

from cinder.volume.drivers.hpe import (
    alletramp_driver,
    alletramp_service,
    hpe_3par_common,
    hpe_3par_fc,
    hpe_3par_iscsi,
)

from tests.support.fakes.arrays.recording import Recording


class _NotFound(Exception):
    def get_code(self) -> int:
        return 102


class _Client:
    """The REST API, with the names of both client libraries. `driver` has the volume's rule."""

    def __init__(self, driver: _Array) -> None:
        self.driver = driver
        self.sets: dict[str, dict[str, Any]] = {}
        self.volume: dict[str, Any] = {"provisioningType": 2, "userCPG": "one", "comment": "{}"}

    def getVolumeSnapshots(self, _: str) -> list[str]:  # of the libraries, as those below
        return []

    def getVolume(self, _: str) -> dict[str, Any]:
        return self.volume

    def getStorageSystemInfo(self) -> dict[str, Any]:
        return {"serialNumber": "S"}

    def getCPG(self, _: str) -> dict[str, Any]:
        return {}

    def modifyVolume(self, _: str, change: dict[str, Any]) -> None:
        assert set(change) == {"comment"}  # anything else converts the volume

    def createVolumeSet(self, name: str, _: str) -> None:
        assert name not in self.sets
        self.sets[name] = {}

    def deleteVolumeSet(self, name: str) -> None:
        if name not in self.sets:
            raise _NotFound(102)
        del self.sets[name]
        self.driver.found = {}

    def createQoSRules(self, name: str, rule: dict[str, Any]) -> None:
        if self.driver.refuses:
            raise OSError("400")
        self.sets[name] = rule

    def addVolumeToVolumeSet(self, name: str, _: str) -> None:
        rule = self.sets[name]
        limits = {"maxIOPS": rule.get("ioMaxLimit"), "maxBWS": rule.get("bwMaxLimitKB", 0) // 1000}
        self.driver.found = {f"qos/{key}": str(value) for key, value in limits.items() if value}

    def create_qos(self, rule: dict[str, Any]) -> None:
        self.createQoSRules(rule["name"], rule)

    get_volume, modify_volume, get_cpg = getVolume, modifyVolume, getCPG
    get_storage_system_info, delete_volumeset = getStorageSystemInfo, deleteVolumeSet


class _Array(Recording):
    location: ClassVar[Any] = "HPE3PARDriver:S:one"
    array: _Client

    def _set_up(self, common: Any, version: int) -> Any:
        self.array = _Client(self)
        common.API_VERSION = version
        common.config = SimpleNamespace(hpe3par_cpg_snap="")
        common._client_conf = {"hpe3par_cpg": ["one"]}
        return common


class _ThreePar(_Array):
    @classmethod
    def prepare(cls, patch: Any) -> None:
        patch.setattr(hpe_3par_common, "hpeexceptions", SimpleNamespace(HTTPNotFound=_NotFound))

    def connect_array(self) -> None:
        common = hpe_3par_common.HPE3PARCommon.__new__(hpe_3par_common.HPE3PARCommon)
        self._common = self._set_up(common, hpe_3par_common.API_VERSION_2023)
        common.client = self.array

    def _login(self, *_: Any, **__: Any) -> Any:
        return self._common

    def _logout(self, _: Any) -> None:
        pass


class HPE3PARFCDriver(_ThreePar, hpe_3par_fc.HPE3PARFCDriver):  # type: ignore[misc]  # Cinder has no types
    """Fibre Channel."""


class HPE3PARISCSIDriver(_ThreePar, hpe_3par_iscsi.HPE3PARISCSIDriver):  # type: ignore[misc]
    """iSCSI."""


class _Service(alletramp_service.AlletraMPService, _Client):  # type: ignore[misc]
    """The driver's service inherits from the client library's classes."""

    def __init__(self, driver: _Array) -> None:
        _Client.__init__(self, driver)


class _Alletra(_Array):
    @classmethod
    def prepare(cls, patch: Any) -> None:
        patch.setattr(alletramp_service, "flowkit_exceptions", SimpleNamespace(HTTPNotFound=_NotFound))
        for name in ("VolumeWorkflow", "VolumeSetWorkflow"):
            patch.setattr(alletramp_service, name, lambda session: session.client)

    def connect_array(self) -> None:
        service = _Service(self)
        self.alletra_mp_service = self._set_up(service, alletramp_service.constants.API_VERSION_R5)
        self.array = service
        service.session_mgr = SimpleNamespace(ensure_session=lambda: None, client=service)


class HPEAlletraMPFCDriver(_Alletra, alletramp_driver.HPEAlletraMPFCDriver):  # type: ignore[misc]
    """Fibre Channel."""


class HPEAlletraMPISCSIDriver(_Alletra, alletramp_driver.HPEAlletraMPISCSIDriver):  # type: ignore[misc]
    """iSCSI."""


class HPEAlletraMPNVMETCPDriver(_Alletra, alletramp_driver.HPEAlletraMPNVMETCPDriver):  # type: ignore[misc]
    """NVMe over TCP."""
