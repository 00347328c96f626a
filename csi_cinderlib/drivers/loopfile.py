# ruff: noqa: ARG002 - the arguments are those of Cinder's interface
"""A Cinder volume driver whose volumes are sparse files in directories.

For single machines, edge clusters, and directories shared by several hosts. The driver never attaches a volume: the node sets
up a loop device for the file. Each pool is a directory. Snapshots and clones are separate files that share data by reflink
(XFS, btrfs, NFS 4.2, ...) or are full copies, so no file depends on another one and each can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cinder import context as cinder_context
from cinder import exception, interface, objects
from cinder.volume import driver, volume_utils
from oslo_config import cfg

from csi_cinderlib.drivers import sparse
from csi_cinderlib.drivers.directories import Directory, Limits
from csi_cinderlib.drivers.identities import Memory
from csi_cinderlib.drivers.looking import LookedAt, real_state
from csi_cinderlib.drivers.loopfile_options import OPTIONS, parse_directories
from csi_cinderlib.drivers.wording import in_words
from csi_cinderlib.host import devices
from csi_cinderlib.model.size import BYTES_PER_GIB


@interface.volumedriver
class LoopFileDriver(driver.VolumeDriver):  # type: ignore[misc]  # Cinder has no types
    """Volumes as sparse files in one or more directories, each directory a pool."""

    VERSION = "1.0.0"
    SUPPORTS_ACTIVE_ACTIVE = True
    CI_WIKI_NAME = "csi-cinderlib_LoopFile_CI"
    VENDOR = "csi-cinderlib"
    SNAPSHOTS_ARE_INDEPENDENT = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self._pools: dict[str, Directory] = {}

    @staticmethod
    def get_driver_options() -> list[Any]:
        return OPTIONS

    def do_setup(self, context: Any) -> None:
        ratio = volume_utils.get_max_over_subscription_ratio(self.configuration.max_over_subscription_ratio)
        limits = Limits(float(ratio), float(self.configuration.safe_get("reserved_percentage") or 0))
        kind = LookedAt if real_state(cfg.CONF.state_path) else Directory
        self._pools = {
            name: kind(name, path, limits)
            for name, path in parse_directories(self.configuration.loopfile_directories).items()
        }

    def check_for_setup_error(self) -> None:
        memory = Memory(real_state(cfg.CONF.state_path) or cfg.CONF.state_path)
        for pool in self._pools.values():
            with in_words(f"cannot use the directory {pool.path}"):
                pool.identify(memory, f"{self.host}#{pool.name}", functools.partial(self._recorded, pool))

    def _recorded(self, pool: Directory) -> list[str]:
        """The files of the volumes and snapshots recorded in the pool."""
        context = cinder_context.get_admin_context()
        volumes = objects.VolumeList.get_all_by_host(context, self.host)
        found = [*volumes, *objects.SnapshotList.get_by_host(context, self.host)]
        whole = [item for item in found if item.status in ("available", "in-use")]
        return [pool.file(item.name) for item in whole if _pool_name(item) == pool.name]

    # Volumes

    def create_volume(self, volume: Any) -> None:
        """Create a sparse file of the volume's size."""
        pool = self._assigned_pool(volume)
        with in_words(f"cannot create {volume.name} in pool {pool.name!r}"), pool.incomplete(volume.name) as file:
            os.ftruncate(file[0], volume.size * BYTES_PER_GIB)
            pool.publish(file, volume.name)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        self._copy(
            snapshot.name, self._find_snapshot_pool(snapshot), volume.name, self._assigned_pool(volume), volume.size
        )

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        self._copy(src_vref.name, self._find_pool(src_vref), volume.name, self._assigned_pool(volume), volume.size)

    def delete_volume(self, volume: Any) -> None:
        """Raises VolumeNotFound if all pools are available and do not contain the volume."""
        if not self._remove(volume.name):
            self._check_configured(volume, volume.name)
            raise exception.VolumeNotFound(volume_id=volume.id)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Also works on attached volumes: the node refreshes its loop device."""
        pool = self._find_pool(volume)
        with in_words(f"cannot extend {volume.name} in pool {pool.name!r}"):
            pool.resize(volume.name, new_size * BYTES_PER_GIB)

    def local_path(self, volume: Any) -> str:
        return self._find_pool(volume).file(volume.name)

    # Snapshots

    def create_snapshot(self, snapshot: Any) -> None:
        pool = self._find_pool(snapshot.volume)
        size = _snapshot_gib(snapshot, pool.file(snapshot.volume.name))
        self._copy(snapshot.volume.name, pool, snapshot.name, pool, size)

    def delete_snapshot(self, snapshot: Any) -> None:
        """Raises SnapshotNotFound under the same conditions as `delete_volume` raises VolumeNotFound."""
        if not self._remove(snapshot.name):
            self._check_configured(snapshot.volume, snapshot.name)
            raise exception.SnapshotNotFound(snapshot_id=snapshot.id)

    def revert_to_snapshot(self, context: Any, volume: Any, snapshot: Any) -> None:
        """The volume keeps its size. A new file replaces the old one, so the volume must not be attached on this host."""
        pool, origin = self._find_pool(volume), self._find_snapshot_pool(snapshot)
        failure = f"cannot revert {volume.name} to {snapshot.name}"
        with in_words(failure), pool.incomplete(volume.name) as file:
            path = pool.file(volume.name)
            if device := devices.find_attached(path):
                raise exception.InvalidVolume(reason=f"{failure}: {path} is still attached to {device} on this host")
            sparse.clone_path(origin.file(snapshot.name), file[0], Path(path).stat().st_size)
            pool.replace(file, volume.name)

    # Groups: a snapshot of a group shows all its volumes at one point in time

    def create_group(self, context: Any, group: Any) -> dict[str, str]:
        return {"status": "available"}

    def update_group(
        self, context: Any, group: Any, add_volumes: Any = None, remove_volumes: Any = None
    ) -> tuple[None, None, None]:
        return None, None, None

    def delete_group(self, context: Any, group: Any, volumes: Sequence[Any]) -> tuple[Any, Any]:
        for volume in volumes:
            with contextlib.suppress(exception.VolumeNotFound):  # deleted by an earlier attempt
                self.delete_volume(volume)
        return {"status": "deleted"}, [{"id": volume.id, "status": "deleted"} for volume in volumes]

    def create_group_from_src(
        self,
        context: Any,
        group: Any,
        volumes: Sequence[Any],
        group_snapshot: Any = None,
        snapshots: Sequence[Any] | None = None,
        source_group: Any = None,
        source_vols: Sequence[Any] | None = None,
    ) -> tuple[None, None]:
        with contextlib.ExitStack() as undo:
            for volume, source in zip(volumes, snapshots or source_vols or (), strict=True):
                make = self.create_volume_from_snapshot if snapshots else self.create_cloned_volume
                make(volume, source)
                undo.callback(self.delete_volume, volume)
            undo.pop_all()
        return None, None

    def create_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Sequence[Any]) -> tuple[Any, Any]:
        pools = [self._find_pool(snapshot.volume) for snapshot in snapshots]
        sources = [pool.file(snapshot.volume.name) for pool, snapshot in zip(pools, snapshots, strict=True)]
        failure = f"cannot take the group snapshot {group_snapshot.id}"
        with in_words(failure), contextlib.ExitStack() as cleanup:
            for pool, snapshot in zip(pools, snapshots, strict=True):
                pool.check_room(snapshot.volume_size * BYTES_PER_GIB)
            files = [
                cleanup.enter_context(pool.incomplete(snapshot.name))
                for pool, snapshot in zip(pools, snapshots, strict=True)
            ]

            def copy_all() -> None:
                for source, (target, _), snapshot in zip(sources, files, snapshots, strict=True):
                    sparse.clone_path(source, target, _snapshot_gib(snapshot, source) * BYTES_PER_GIB)

            if not sparse.undisturbed(sources, copy_all):
                raise exception.InvalidVolume(
                    reason=f"{failure}: the volumes are written to continuously; pause the writers"
                )
            with contextlib.ExitStack() as undo:
                for pool, snapshot, file in zip(pools, snapshots, files, strict=True):
                    pool.publish(file, snapshot.name)
                    undo.callback(pool.remove, snapshot.name)
                undo.pop_all()
        return {"status": "available"}, [{"id": snapshot.id, "status": "available"} for snapshot in snapshots]

    def delete_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Sequence[Any]) -> tuple[Any, Any]:
        for snapshot in snapshots:
            with contextlib.suppress(exception.SnapshotNotFound):
                self.delete_snapshot(snapshot)
        return {"status": "deleted"}, [{"id": snapshot.id, "status": "deleted"} for snapshot in snapshots]

    # Connections: the node attaches the file; nothing needs to be exported

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Nothing to do."""

    def create_export(self, context: Any, volume: Any, connector: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Nothing to do."""

    def create_export_snapshot(self, context: Any, snapshot: Any, connector: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def remove_export_snapshot(self, context: Any, snapshot: Any) -> None:
        """Nothing to do."""

    def initialize_connection(self, volume: Any, connector: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The file's path, for a node with the directory mounted at the same path."""
        return self._connection(self._find_pool(volume).file(volume.name), "rw")

    def initialize_connection_snapshot(
        self, snapshot: Any, connector: Mapping[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        return self._connection(self._find_snapshot_pool(snapshot).file(snapshot.name), "ro")

    def _connection(self, path: str, access_mode: str) -> dict[str, Any]:
        data = {
            "device_path": path,
            "path": path,
            "block_size": self.configuration.loopfile_block_size,
            "access_mode": access_mode,
            "discard": True,
        }
        return {"driver_volume_type": "local", "data": data}

    # Existing files

    def manage_existing(self, volume: Any, existing_ref: Mapping[str, str]) -> None:
        """Rename the file to the volume's name and extend it to whole GiB."""
        pool, name = self._existing(volume, existing_ref)
        volume_utils.check_already_managed_volume(name)
        with in_words(f"cannot manage {name} in pool {pool.name!r}"):
            pool.resize(name, _whole_gib(pool.file(name)) * BYTES_PER_GIB)
            if name != volume.name:
                pool.rename(name, volume.name)

    def manage_existing_get_size(self, volume: Any, existing_ref: Mapping[str, str]) -> int:
        pool, name = self._existing(volume, existing_ref)
        return _whole_gib(pool.file(name))

    def _existing(self, volume: Any, existing_ref: Mapping[str, str]) -> tuple[Directory, str]:
        pool, name = self._assigned_pool(volume), existing_ref.get("source-name", "")
        if not name or "/" in name or name.startswith("."):
            reason = "source-name must be the name of a file in the pool's directory"
        elif not sparse.is_plain_file(pool.file(name)):
            reason = f"{pool.file(name)} is not a regular file"
        else:
            return pool, name
        raise exception.ManageExistingInvalidReference(existing_ref=existing_ref, reason=reason)

    def get_manageable_volumes(
        self,
        cinder_volumes: Iterable[Any],
        marker: Any,
        limit: int,
        offset: int,
        sort_keys: list[str],
        sort_dirs: list[str],
    ) -> list[Any]:
        ids = {volume.name: volume.id for volume in cinder_volumes}
        snapshots = cfg.CONF.snapshot_name_template.partition("%")[0]
        entries = [
            {
                "reference": {"source-name": name},
                "size": -(-size // BYTES_PER_GIB),
                "safe_to_manage": name not in ids,
                "reason_not_safe": "already managed" if name in ids else None,
                "cinder_id": ids.get(name),
                "extra_info": f"pool {pool.name}",
            }
            for pool in self._pools.values()
            for name, size in pool.files()
            if not name.startswith(snapshots)
        ]
        return list(volume_utils.paginate_entries_list(entries, marker, limit, offset, sort_keys, sort_dirs))

    # Other methods of Cinder's interface

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any, host: Mapping[str, Any]) -> tuple[bool, None]:
        """The volume type does not affect the file, so any retype within the pool succeeds."""
        return host["host"] == volume.host, None

    def get_pool(self, volume: Any) -> str:
        return self._find_pool(volume).name

    def _update_volume_stats(self) -> None:
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name") or type(self).__name__,
            "vendor_name": self.VENDOR,
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "sparse_copy_volume": True,
            "online_extend_support": True,
            "pools": [self._pool_stats(pool) for pool in self._pools.values()],
        }

    def _pool_stats(self, pool: Directory) -> dict[str, Any]:
        with in_words(f"cannot measure pool {pool.name!r}"):
            now = pool.capacity(count_anew=True)
        return {
            "pool_name": pool.name,
            "total_capacity_gb": now.total / BYTES_PER_GIB,
            "free_capacity_gb": now.free / BYTES_PER_GIB,
            "provisioned_capacity_gb": now.provisioned / BYTES_PER_GIB,
            "largest_volume_gb": pool.limits.largest(now) / BYTES_PER_GIB,
            "reserved_percentage": pool.limits.reserved_percentage,
            "max_over_subscription_ratio": pool.limits.max_over_subscription_ratio,
            "thin_provisioning_support": True,
            "thick_provisioning_support": False,
            "logical_block_size": self.configuration.loopfile_block_size,
            "multiattach": True,
            "QoS_support": False,
            "consistent_group_snapshot_enabled": True,
            "filter_function": self.get_filter_function(),
            "goodness_function": self.get_goodness_function(),
        }

    # Files and pools

    def _copy(self, name: str, origin: Directory, new_name: str, pool: Directory, size: int) -> None:
        """Copy a file to a new one of `size` GiB."""
        failure, source = f"cannot copy {name} to {new_name} in pool {pool.name!r}", origin.file(name)
        with in_words(failure):
            have = Path(source).stat().st_size
            if have > size * BYTES_PER_GIB:
                raise exception.InvalidInput(reason=f"{failure}: {size} GiB is less than the source's {have} bytes")
            pool.check_room(size * BYTES_PER_GIB)
            with pool.incomplete(new_name) as file:
                if not sparse.clone_at_one_moment(source, file[0], size * BYTES_PER_GIB):
                    raise exception.InvalidVolume(
                        reason=f"{failure}: the source is written to continuously, and {pool.path} has no reflink support "
                        "(XFS, btrfs); pause the writers or detach the volume"
                    )
                pool.publish(file, new_name)

    def _remove(self, name: str) -> bool:
        """Whether a pool contained the file. Removes nothing unless all pools are available."""
        for pool in self._pools.values():
            with in_words(f"cannot delete {name} in pool {pool.name!r}"):
                pool.check()
        removed = False
        for pool in self._pools.values():
            with in_words(f"cannot delete {name} in pool {pool.name!r}"):
                removed = pool.remove(name) or removed
        return removed

    def _assigned_pool(self, volume: Any) -> Directory:
        """The pool that the scheduler chose."""
        name = _pool_name(volume)
        if name in self._pools:
            return self._pools[name]
        if not name or len(self._pools) == 1:
            return max(self._pools.values(), key=lambda pool: pool.capacity().free)
        raise exception.InvalidVolume(reason=f"{volume.name}: unknown pool {name!r}; pools: {', '.join(self._pools)}")

    def _check_configured(self, volume: Any, name: str) -> None:
        """Raise if the recorded pool is not configured: the object may still exist there."""
        pool = _pool_name(volume)
        if pool and pool not in self._pools:
            raise exception.VolumeBackendAPIException(
                data=f"cannot delete {name}: its pool {pool!r} is not configured; add it to loopfile_directories"
            )

    def _find_pool(self, volume: Any) -> Directory:
        """The pool that contains the volume."""
        return self._holder(volume.name) or _missing(exception.VolumeNotFound(volume_id=volume.id))

    def _find_snapshot_pool(self, snapshot: Any) -> Directory:
        return self._holder(snapshot.name) or _missing(exception.SnapshotNotFound(snapshot_id=snapshot.id))

    def _holder(self, name: str) -> Directory | None:
        with in_words(f"cannot look up {name}"):
            return next((pool for pool in self._pools.values() if pool.holds(name)), None)


def _pool_name(volume: Any) -> str:
    return (volume_utils.extract_host(volume.host, level="pool") or "") if volume.host else ""


def _missing(error: Exception) -> Directory:
    raise error


def _snapshot_gib(snapshot: Any, path: str) -> int:
    """At least the size of the file, even if the record has a smaller size."""
    recorded: int = snapshot.volume_size
    return max(recorded, _whole_gib(path))


def _whole_gib(path: str) -> int:
    return -(-Path(path).stat().st_size // BYTES_PER_GIB)
