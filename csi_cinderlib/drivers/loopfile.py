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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cinder import context as cinder_context
from cinder import exception, interface, objects
from cinder.volume import driver, volume_utils
from oslo_config import cfg

from csi_cinderlib.drivers import allocation, group_copies, pool_report, sparse
from csi_cinderlib.drivers.directories import Directory, Limits
from csi_cinderlib.drivers.existing_files import ExistingFiles, geometry, own_name, pool_name
from csi_cinderlib.drivers.identities import Memory
from csi_cinderlib.drivers.looking import LookedAt, real_state
from csi_cinderlib.drivers.loopfile_options import OPTIONS, parse_directories
from csi_cinderlib.drivers.wording import in_words
from csi_cinderlib.host import devices
from csi_cinderlib.model.size import BYTES_PER_GIB


@interface.volumedriver
class LoopFileDriver(ExistingFiles, driver.VolumeDriver):  # type: ignore[misc]  # Cinder has no types
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
                pool.allocates = isinstance(pool, LookedAt) or allocation.is_supported(pool)

    def _recorded(self, pool: Directory) -> list[str]:
        """The files of the volumes and snapshots recorded in the pool."""
        context = cinder_context.get_admin_context()
        volumes = objects.VolumeList.get_all_by_host(context, self.host)
        found = [*volumes, *objects.SnapshotList.get_by_host(context, self.host)]
        whole = [item for item in found if item.status in ("available", "in-use")]
        return [pool.file(item.name) for item in whole if pool_name(item) == pool.name]

    # Volumes

    def create_volume(self, volume: Any) -> dict[str, str]:
        """Create a file of the volume's size, sparse unless the volume is thick."""
        pool = self._assigned_pool(volume)
        with in_words(f"cannot create {volume.name} in pool {pool.name!r}"), pool.incomplete(volume.name) as file:
            os.ftruncate(file[0], volume.size * BYTES_PER_GIB)
            if allocation.is_thick(volume.volume_type):
                allocation.allocate(pool, file[0])
            pool.publish(file, volume.name)
        return geometry(self.configuration.loopfile_block_size)

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> dict[str, str]:
        self._copy_to_volume(snapshot.name, self._find_snapshot_pool(snapshot), volume)
        return geometry(_sector_size(snapshot.volume))

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, str]:
        self._copy_to_volume(src_vref.name, self._find_pool(src_vref), volume)
        return geometry(_sector_size(src_vref))

    def delete_volume(self, volume: Any) -> None:
        """Raises VolumeNotFound if all pools are available and do not contain the volume."""
        if not self._remove(volume.name):
            self._check_configured(volume, volume.name)
            raise exception.VolumeNotFound(volume_id=volume.id)

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Also works on attached volumes: the node refreshes its loop device."""
        pool = self._find_pool(volume)
        with in_words(f"cannot extend {volume.name} in pool {pool.name!r}"):
            if allocation.is_thick(volume.volume_type):  # first, so that an interrupted extension leaves no thin part
                allocation.fill(pool, volume.name, size=new_size * BYTES_PER_GIB)
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
        """The volume keeps its size. A new file replaces the old one, so the volume must not be attached on this host.

        Raises:
            InvalidVolume: it is attached, or is not managed: the file of another owner is not replaced.
        """
        if own_name(volume):
            raise exception.InvalidVolume(
                reason=f"{volume.name} is used without managing it, so its file is not replaced"
            )
        pool, origin = self._find_pool(volume), self._find_snapshot_pool(snapshot)
        failure = f"cannot revert {volume.name} to {snapshot.name}"
        with in_words(failure), pool.incomplete(volume.name) as file:
            path = pool.file(volume.name)
            if device := devices.find_attached(path):
                raise exception.InvalidVolume(reason=f"{failure}: {path} is still attached to {device} on this host")
            sparse.clone_path(origin.file(snapshot.name), file[0], Path(path).stat().st_size)
            if allocation.is_thick(volume.volume_type):
                allocation.allocate(pool, file[0])
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
    ) -> tuple[None, list[dict[str, str]]]:
        updates = []
        with contextlib.ExitStack() as undo:
            for volume, source in zip(volumes, snapshots or source_vols or (), strict=True):
                make = self.create_volume_from_snapshot if snapshots else self.create_cloned_volume
                updates.append({"id": volume.id, "status": "available", **make(volume, source)})
                undo.callback(self.delete_volume, volume)
            undo.pop_all()
        return None, updates

    def create_group_snapshot(self, context: Any, group_snapshot: Any, snapshots: Sequence[Any]) -> tuple[Any, Any]:
        copies = [self._group_copy(snapshot) for snapshot in snapshots]
        group_copies.take(copies, f"cannot take the group snapshot {group_snapshot.id}")
        return {"status": "available"}, [{"id": snapshot.id, "status": "available"} for snapshot in snapshots]

    def _group_copy(self, snapshot: Any) -> group_copies.Copy:
        pool = self._find_pool(snapshot.volume)
        source = pool.file(snapshot.volume.name)
        room, size = snapshot.volume_size * BYTES_PER_GIB, _snapshot_gib(snapshot, source) * BYTES_PER_GIB
        return group_copies.Copy(pool, source, snapshot.name, room, size)

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
        return _connection(volume, self._find_pool(volume).file(volume.name), "rw")

    def initialize_connection_snapshot(
        self, snapshot: Any, connector: Mapping[str, Any], **kwargs: Any
    ) -> dict[str, Any]:
        return _connection(snapshot.volume, self._find_snapshot_pool(snapshot).file(snapshot.name), "ro")

    # Other methods of Cinder's interface

    def retype(self, context: Any, volume: Any, new_type: Any, diff: Any, host: Mapping[str, Any]) -> tuple[bool, None]:
        """Make a thin volume thick, or a thick one thin, within its pool.

        Space is allocated while the volume is in use. It is released only while the volume is not in use, since a node may be
        writing to it; later, the file system on the volume releases space when it discards unused blocks. A file that is not managed may
        be in use by another program.
        """
        old, new = diff["extra_specs"].get(allocation.SPEC, (None, None))
        if host["host"] != volume.host:
            return False, None
        pool = self._find_pool(volume)
        if new == allocation.THICK and not pool.allocates:
            return False, None
        with in_words(f"cannot change {volume.name} in pool {pool.name!r} from {old or 'thin'} to {new or 'thin'}"):
            file = pool.file(volume.name)
            in_use = bool(own_name(volume) or volume.volume_attachment or devices.find_attached(file))
            if new == allocation.THICK:
                allocation.make_thick(pool, volume.name, in_use=in_use)
            elif not in_use:
                allocation.release(pool, volume.name)
        return True, None

    def get_pool(self, volume: Any) -> str:
        return self._find_pool(volume).name

    def _update_volume_stats(self) -> None:
        common = {
            "logical_block_size": self.configuration.loopfile_block_size,
            "filter_function": self.get_filter_function(),
            "goodness_function": self.get_goodness_function(),
        }
        self._stats = {
            "volume_backend_name": self.configuration.safe_get("volume_backend_name") or type(self).__name__,
            "vendor_name": self.VENDOR,
            "driver_version": self.VERSION,
            "storage_protocol": "local",
            "sparse_copy_volume": True,
            "online_extend_support": True,
            "pools": [pool_report.report(pool, common) for pool in self._pools.values()],
        }

    # Files and pools

    def _copy_to_volume(self, name: str, origin: Directory, volume: Any) -> None:
        thick = allocation.is_thick(volume.volume_type)
        self._copy(name, origin, volume.name, self._assigned_pool(volume), volume.size, thick=thick)

    def _copy(
        self, name: str, origin: Directory, new_name: str, pool: Directory, size: int, *, thick: bool = False
    ) -> None:
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
                if thick:
                    allocation.allocate(pool, file[0])
                else:
                    allocation.trim(file[0])
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
        name = pool_name(volume)
        if name in self._pools:
            return self._pools[name]
        if not name or len(self._pools) == 1:
            return max(self._pools.values(), key=lambda pool: pool.capacity().free)
        raise exception.InvalidVolume(reason=f"{volume.name}: unknown pool {name!r}; pools: {', '.join(self._pools)}")

    def _check_configured(self, volume: Any, name: str) -> None:
        """Raise if the recorded pool is not configured: the object may still exist there."""
        pool = pool_name(volume)
        if pool and pool not in self._pools:
            raise exception.VolumeBackendAPIException(
                data=f"cannot delete {name}: its pool {pool!r} is not configured; add it to loopfile_directories"
            )

    def _find_pool(self, volume: Any) -> Directory:
        """The pool that contains the volume."""
        return self._holder(volume, volume) or _missing(exception.VolumeNotFound(volume_id=volume.id))

    def _find_snapshot_pool(self, snapshot: Any) -> Directory:
        return self._holder(snapshot, snapshot.volume) or _missing(exception.SnapshotNotFound(snapshot_id=snapshot.id))

    def _holder(self, item: Any, volume: Any) -> Directory | None:
        """The recorded pool first. The name of a static import is unique only in the pool of the import."""
        own, pools = pool_name(volume), self._pools.values()
        found = [self._pool_of(item)] if own_name(item) else sorted(pools, key=lambda pool: pool.name != own)
        with in_words(f"cannot look up {item.name}"):
            return next((pool for pool in found if pool.holds(item.name)), None)


def _connection(volume: Any, path: str, access_mode: str) -> dict[str, Any]:
    data = {
        "device_path": path,
        "path": path,
        "block_size": _sector_size(volume),
        "access_mode": access_mode,
        "discard": True,
    }
    return {"driver_volume_type": "local", "data": data}


def _sector_size(volume: Any) -> int:
    """Fixed when the volume is created or imported; a change of the option must not move the partitions of existing volumes."""
    return int(volume.provider_geometry or devices.BLOCK_SIZE)


def _missing(error: Exception) -> Directory:
    raise error


def _snapshot_gib(snapshot: Any, path: str) -> int:
    """At least the size of the file, even if the record has a smaller size."""
    recorded: int = snapshot.volume_size
    return max(recorded, _whole_gib(path))


def _whole_gib(path: str) -> int:
    return -(-Path(path).stat().st_size // BYTES_PER_GIB)
