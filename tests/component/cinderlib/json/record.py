"""Record JSON of cinderlib: run this with a Python that has cinderlib, of any version. See README.md.

It runs on Python 3.6 and later. It needs no storage: its driver only answers.
"""

import contextlib
import json
import sys
import tempfile
import warnings
from typing import Any, ClassVar

import cinderlib  # type: ignore[import-not-found]  # the library whose JSON is recorded
from cinder.volume import driver

CONNECTOR = {"host": "box", "ip": "192.0.2.1", "initiator": "iqn.2010-10.test:box", "multipath": False}


class Driver(driver.VolumeDriver):  # type: ignore[misc]  # Cinder has no types
    """Answers as an iSCSI driver does."""

    VERSION = "1.0"
    POOLS: ClassVar[Any] = [{"pool_name": "one", "total_capacity_gb": 9, "free_capacity_gb": 9}]

    def do_setup(self, context: Any) -> None: ...
    def check_for_setup_error(self) -> None: ...
    def ensure_export(self, context: Any, volume: Any) -> None: ...
    def remove_export(self, context: Any, volume: Any) -> None: ...
    def delete_volume(self, volume: Any) -> None: ...
    def delete_snapshot(self, snapshot: Any) -> None: ...
    def extend_volume(self, volume: Any, new_size: Any) -> None: ...
    def terminate_connection(self, volume: Any, connector: Any, **kwargs: Any) -> None: ...

    def _update_volume_stats(self) -> None:
        self._stats = {"volume_backend_name": "lvm", "driver_version": "1.0", "pools": self.POOLS}

    def get_volume_stats(self, refresh: bool = False) -> Any:
        self._update_volume_stats()
        return self._stats

    def create_volume(self, volume: Any) -> Any:
        if volume["size"] == 13:
            raise RuntimeError("the array refuses")
        return {
            "provider_location": f"192.0.2.9:3260,1 iqn.2010-10.test:{volume['name']} 0",
            "provider_auth": "CHAP u p",
        }

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> Any:
        return {"provider_location": f"a clone of {src_vref['name']}"}

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> Any:
        return {"provider_location": f"a copy of {snapshot['name']}"}

    def create_snapshot(self, snapshot: Any) -> Any:
        return {"provider_location": "a snapshot", "provider_id": "17"}

    def create_export(self, context: Any, volume: Any, connector: Any = None) -> Any:
        return {"provider_location": volume["provider_location"]}

    def initialize_connection(self, volume: Any, connector: Any, **kwargs: Any) -> Any:
        return {
            "driver_volume_type": "iscsi",
            "data": {"target_lun": 1, "auth_password": "p", "target_discovered": False},
        }


def record() -> Any:
    """One volume with everything, a copy of each kind, one that failed, and one that was deleted."""
    cinderlib.setup(file_locks_path=tempfile.mkdtemp(), host="box", disable_logs=True)
    backend = cinderlib.Backend(volume_driver=f"{Driver.__module__}.Driver", volume_backend_name="lvm")
    volume = backend.create_volume(
        2,
        id="11111111-1111-4111-8111-111111111111",
        name="whole",
        description="with all parts",
        metadata={"m": "n"},
        extra_specs={"e": "f"},
        qos_specs={"maxIOPS": "10"},
        availability_zone="zone",
        bootable=True,
    )
    snapshot = volume.create_snapshot("monday", "before the upgrade", metadata={"s": "t"})
    connection = volume.connect(CONNECTOR)
    connection.device_attached({"type": "block", "path": "/dev/sdx", "scsi_wwn": "wwn"})
    clone, copy = volume.clone(name="clone"), snapshot.create_volume(name="copy")
    plain, failed = backend.create_volume(1, name="plain"), cinderlib.Volume(backend, size=13, name="failed")
    with contextlib.suppress(RuntimeError):
        failed.create()
    plain.delete()
    parts = {"snapshot": snapshot.dump, "connection": connection.dump, "backend": backend.json}
    volumes = {"whole": volume, "clone": clone, "copy": copy, "failed": failed, "deleted": plain}
    return dict({name: volume.dump for name, volume in volumes.items()}, **parts)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.modules["record"] = sys.modules["__main__"]  # Cinder imports the driver by its module's name
    Driver.__module__ = "record"
    lines = [f'"{name}": {json.dumps(part, sort_keys=True)}' for name, part in sorted(record().items())]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
