"""A Cinder driver that does nothing, successfully: it remembers what exists, and can be told to be slow or to fail.

Options (all with the prefix `nothing_`):

* `delay`: seconds that each call takes.
* `held`: a file; calls wait as long as it exists.
* `fail`: names of methods that raise, as a comma list; `create_volume:2` only the second time.
* `journal`: a file to which each call appends a line `method id`; counts survive the process.
* `pools`, `capacity_gb`, and the usual abilities.

`array_driver.ArrayDriver` is this driver with an array behind it, which misbehaves as real ones do.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from cinder import exception, interface
from cinder.volume import configuration, driver
from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger(__name__)
OPTIONS = [
    cfg.FloatOpt("nothing_delay", default=0.0, min=0.0, help="Seconds that each call takes."),
    cfg.StrOpt("nothing_held", default="", help="A file; calls wait as long as it exists."),
    cfg.ListOpt("nothing_fail", default=[], help="Methods that fail; NAME:N only the Nth time."),
    cfg.StrOpt("nothing_error", default="the array says no", help="What failing methods say."),
    cfg.StrOpt("nothing_exception", default="VolumeBackendAPIException", help="What failing methods raise."),
    cfg.StrOpt("nothing_journal", default="", help="A file that gets a line for each call."),
    cfg.ListOpt("nothing_pools", default=["one"], help="Names of the pools."),
    cfg.StrOpt(
        "nothing_capacity_gb", default="1000", help="Total and free capacity of each pool, or 'infinite', 'unknown'."
    ),
    cfg.BoolOpt("nothing_multiattach", default=True, help="Whether volumes can be attached to several nodes."),
    cfg.BoolOpt("nothing_online_extend", default=True, help="Whether attached volumes can grow."),
    cfg.BoolOpt("nothing_shared_connection", default=False, help="What terminate_connection answers."),
    cfg.StrOpt("nothing_password", default="", secret=True, help="Kept to itself."),
    cfg.StrOpt("nothing_sesame", default="", secret=True, help="Kept to itself, whatever its name."),
    cfg.StrOpt("nothing_device", default="", help="The device of all volumes of LocalDriver."),
    cfg.PortOpt("nothing_port", default=443, help="A port."),
    cfg.StrOpt("nothing_farewell", deprecated_for_removal=True, deprecated_reason="it says\nnothing"),
    cfg.StrOpt("nothing_mode", default="fast", choices=["fast", "slow"], help="A choice."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)


def _until_gone(file: Path) -> None:
    while file.exists():
        time.sleep(0.005)


@interface.volumedriver
class NothingDriver(driver.VolumeDriver):  # type: ignore[misc]  # Cinder has no types
    """See the module. Keeps its world in `self.volumes`, `self.snapshots`, `self.exports` and `self.mapped`."""

    VERSION = "1.0"
    SUPPORTED = True
    CI_WIKI_NAME = "none"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.volumes: dict[str, int] = {}
        self.snapshots: dict[str, int] = {}
        self.exports: set[str] = set()
        self.mapped: set[tuple[str, str]] = set()
        self.calls: collections.Counter[str] = collections.Counter()
        self.busy = 0
        self.busiest = 0
        self.delayed = 0
        """Calls that are waiting now, whose wait no later change of the options makes shorter."""
        self._guard = threading.Lock()

    @staticmethod
    def get_driver_options() -> list[Any]:
        return OPTIONS

    def _called(self, method: str, id: str = "") -> None:
        """Count, wait and fail as the options say."""
        with self._guard:
            self.calls[method] += 1
            count = self.calls[method]
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            if delay := self.configuration.nothing_delay:
                self._wait(lambda: time.sleep(delay))
            if held := self.configuration.nothing_held:
                self._wait(lambda: _until_gone(Path(held)))
            if self.configuration.nothing_journal:
                with Path(self.configuration.nothing_journal).open("a") as journal:
                    journal.write(f"{method} {id}\n")
            wanted = self.configuration.nothing_fail
            if method in wanted or f"{method}:{count}" in wanted:
                cls = getattr(exception, self.configuration.nothing_exception)
                message = self.configuration.nothing_error.replace("{id}", id)
                raise cls(data=message, reason=message, message=message)
        finally:
            with self._guard:
                self.busy -= 1

    def _wait(self, wait: Callable[[], None]) -> None:
        with self._guard:
            self.delayed += 1
        wait()
        with self._guard:
            self.delayed -= 1

    def do_setup(self, context: Any) -> None:
        self._called("do_setup")
        LOG.debug("Logging in with %s.", self.configuration.nothing_password)

    def check_for_setup_error(self) -> None:
        self._called("check_for_setup_error")

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        self._called("get_volume_stats")
        settings = self.configuration
        capacity = settings.nothing_capacity_gb
        capacity = float(capacity) if capacity.replace(".", "").isdigit() else capacity
        return {
            "volume_backend_name": settings.volume_backend_name,
            "vendor_name": "Nobody",
            "driver_version": self.VERSION,
            "storage_protocol": "nothing",
            "pools": [
                {
                    "pool_name": pool,
                    "total_capacity_gb": capacity,
                    "free_capacity_gb": capacity,
                    "provisioned_capacity_gb": sum(self.volumes.values()),
                    "thin_provisioning_support": True,
                    "max_over_subscription_ratio": "2",
                    "reserved_percentage": 0,
                    "multiattach": settings.nothing_multiattach,
                    "QoS_support": True,
                    "online_extend_support": settings.nothing_online_extend,
                }
                for pool in settings.nothing_pools
            ],
        }

    # --- volumes

    def create_volume(self, volume: Any) -> dict[str, Any]:
        self._called("create_volume", volume.id)
        self.volumes[volume.id] = volume.size
        return {"provider_location": f"nowhere/{volume.name}"}

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> dict[str, Any]:
        self._called("create_volume_from_snapshot", volume.id)
        if snapshot.id not in self.snapshots:
            raise exception.SnapshotNotFound(snapshot_id=snapshot.id)
        self.volumes[volume.id] = volume.size
        return {"provider_location": f"nowhere/{volume.name}", "metadata": {"from": snapshot.name}}

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, Any]:
        self._called("create_cloned_volume", volume.id)
        if src_vref.id not in self.volumes:
            raise exception.VolumeNotFound(volume_id=src_vref.id)
        self.volumes[volume.id] = volume.size
        return {"provider_location": f"nowhere/{volume.name}"}

    def delete_volume(self, volume: Any) -> None:
        self._called("delete_volume", volume.id)
        self.volumes.pop(volume.id, None)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        self._called("extend_volume", volume.id)
        self.volumes[volume.id] = new_size

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        self._called("revert_to_snapshot", volume.id)

    # --- snapshots

    def create_snapshot(self, snapshot: Any) -> dict[str, Any]:
        self._called("create_snapshot", snapshot.id)
        self.snapshots[snapshot.id] = snapshot.volume_size
        return {"provider_location": f"nowhere/{snapshot.name}"}

    def delete_snapshot(self, snapshot: Any) -> None:
        self._called("delete_snapshot", snapshot.id)
        self.snapshots.pop(snapshot.id, None)

    # --- connections

    def ensure_export(self, context: Any, volume: Any) -> None:
        self._called("ensure_export", volume.id)
        self.exports.add(volume.id)

    def create_export(self, context: Any, volume: Any, connector: Any) -> dict[str, Any]:
        self._called("create_export", volume.id)
        self.exports.add(volume.id)
        return {"provider_auth": "CHAP nobody secret"}

    def remove_export(self, context: Any, volume: Any) -> None:
        self._called("remove_export", volume.id)
        self.exports.discard(volume.id)

    def validate_connector(self, connector: dict[str, Any]) -> None:
        self._called("validate_connector")
        if not connector.get("host"):
            raise exception.InvalidConnectorException(missing="host")

    def initialize_connection(self, volume: Any, connector: dict[str, Any]) -> dict[str, Any]:
        self._called("initialize_connection", volume.id)
        self.mapped.add((volume.id, connector["host"]))
        return {"driver_volume_type": "nothing", "data": {"device_path": f"/nowhere/{volume.id}"}}

    def terminate_connection(self, volume: Any, connector: dict[str, Any], **kwargs: Any) -> bool:
        self._called("terminate_connection", volume.id)
        self.mapped.discard((volume.id, connector["host"]))
        return bool(self.configuration.nothing_shared_connection)


class AskingDriver(NothingDriver):
    """Looks up what it is told in every way that real drivers do, and tells what it heard in the volume's metadata."""

    heard: ClassVar[dict[str, Any]] = {}

    def create_volume(self, volume: Any) -> dict[str, Any]:
        from cinder import context, objects
        from cinder.volume import qos_specs, volume_types

        admin = context.get_admin_context()
        again = objects.Volume.get_by_id(admin, volume.id)
        self.heard["object"] = dict(volume.volume_type.extra_specs), dict(volume.volume_type.qos_specs.specs)
        self.heard["types"] = (
            volume_types.get_volume_type_extra_specs(volume.volume_type_id),
            dict(volume_types.get_volume_type_qos_specs(volume.volume_type_id)["qos_specs"]["specs"]),
        )
        found = volume_types.get_volume_type(admin, volume.volume_type_id)
        self.heard["type and qos"] = (
            dict(found["extra_specs"]),
            dict(qos_specs.get_qos_specs(admin, found["qos_specs_id"]).specs),
        )
        self.heard["database"] = (
            dict(self.db.volume_type_get(admin, volume.volume_type_id)["extra_specs"]),
            dict(self.db.qos_specs_get(admin, found["qos_specs_id"])["specs"]),
        )
        self.heard["again"] = (again.status, again.name, again.is_multiattach())
        volume.admin_metadata["told"] = "yes"
        volume.save()
        return super().create_volume(volume)

    def create_snapshot(self, snapshot: Any) -> dict[str, Any]:
        from cinder import context, objects

        admin = context.get_admin_context()
        volume = snapshot.volume
        self.heard["attached"] = [
            (attachment.attached_host, attachment.attach_status) for attachment in volume.volume_attachment
        ]
        self.heard["status"] = volume.status
        self.heard["by host"] = [other.id for other in objects.VolumeList.get_all_by_host(admin, volume.host)]
        self.heard["snapshots"] = [
            snapshot.id for snapshot in objects.SnapshotList.get_all_for_volume(admin, volume.id)
        ]
        volume.refresh()
        return super().create_snapshot(snapshot)


class InterruptedDriver(NothingDriver):
    """Something happens while it exports."""

    meanwhile: ClassVar[list[Callable[[str], object]]] = []

    def ensure_export(self, context: Any, volume: Any) -> None:
        for action in self.meanwhile:
            action(volume.id)
        super().ensure_export(context, volume)


class MappingDriver(NothingDriver):
    """Has nothing to export, as most arrays: a volume is reachable once it is mapped."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing to do."""


class LocalDriver(NothingDriver):
    """Its volumes are all the same existing block device of this host, so that attaching costs nothing else."""

    def initialize_connection(self, volume: Any, connector: dict[str, Any]) -> dict[str, Any]:
        super().initialize_connection(volume, connector)
        return {"driver_volume_type": "local", "data": {"device_path": self.configuration.nothing_device}}


class NfsDriver(NothingDriver):
    """Has the class name of Cinder's NFS driver (cinder/volume/drivers/nfs.py): its clones have the size of their source."""

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, Any]:
        update = super().create_cloned_volume(volume, src_vref)
        self.volumes[volume.id] = src_vref.size
        return update


class RemoteFSSnapDriver(NothingDriver):
    """Has the name of a class of Cinder's remotefs.py whose snapshots make a volume unusable."""

    def create_snapshot(self, snapshot: Any) -> dict[str, Any]:
        return super().create_snapshot(snapshot)


class CuriousDriver(NothingDriver):
    """Asks Cinder's database for something that does not exist here, and hides the answer."""

    def create_volume(self, volume: Any) -> dict[str, Any]:
        try:
            self.db.backup_get_all(None)
        except Exception:
            self.calls["hidden"] += 1
        return super().create_volume(volume)


class GroupDriver(NothingDriver):
    """Takes snapshots of several volumes at one point in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups: dict[str, set[str]] = {}
        self.taken: dict[str, set[str]] = {}

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        return {**super().get_volume_stats(refresh), "consistent_group_snapshot_enabled": True}

    def create_group(self, context: Any, group: Any) -> dict[str, Any]:
        from cinder.volume import volume_utils

        self._called("create_group", group.id)
        assert volume_utils.is_group_a_cg_snapshot_type(group)
        self.groups[group.id] = set()
        return {"status": "available"}

    def update_group(self, context: Any, group: Any, add_volumes: Any = None, remove_volumes: Any = None) -> Any:
        self._called("update_group", group.id)
        self.groups[group.id] |= {volume.id for volume in add_volumes}
        self.groups[group.id] -= {volume.id for volume in remove_volumes}
        return None, None, None

    def delete_group(self, context: Any, group: Any, volumes: Any) -> Any:
        self._called("delete_group", group.id)
        assert volumes == []
        for id in self.groups.pop(group.id, ()):  # as dell_emc/unity/adapter.py does
            del self.volumes[id]
        return {"status": "deleted"}, []

    def create_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Any) -> Any:
        self._called("create_group_snapshot", group_snapshot.id)
        assert {snapshot.volume.id for snapshot in snapshots} == self.groups[group_snapshot.group_id]
        assert all(snapshot.volume.group_id == group_snapshot.group_id for snapshot in snapshots)
        self.snapshots.update({snapshot.id: snapshot.volume_size for snapshot in snapshots})
        self.taken[group_snapshot.id] = {snapshot.id for snapshot in snapshots}
        return {"status": "available"}, [
            {"id": snapshot.id, "status": "available", "provider_id": f"{group_snapshot.id}/{snapshot.volume_id}"}
            for snapshot in snapshots
        ]

    def delete_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Any) -> Any:
        self._called("delete_group_snapshot", group_snapshot.id)
        for snapshot in snapshots:
            self.snapshots.pop(snapshot.id, None)
        self.taken.pop(group_snapshot.id, None)
        return {"status": "deleted"}, [{"id": snapshot.id, "status": "deleted"} for snapshot in snapshots]


class RenumberingDriver(NothingDriver):
    """Gives volumes and snapshots other ids at each start, as a driver does whose array was migrated."""

    def update_provider_info(self, volumes: Any, snapshots: Any) -> Any:
        self._called("update_provider_info")
        return (
            [{"id": volume.id, "provider_id": f"new-{volume.name}"} for volume in volumes],
            [{"id": snapshot.id, "provider_id": f"new-{snapshot.name}"} for snapshot in snapshots],
        )
