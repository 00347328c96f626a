"""Raw volume files of Cinder's NFS driver: snapshots that are copies, and growth while a volume is attached.

Cinder's driver puts a qcow2 file over the volume's own with each snapshot. The kernel attaches raw files only, so such a volume
could not be attached any more.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from csi_cinderlib.cinder import shares


def copy_snapshots(driver: Any) -> None:
    """Let the driver copy the volume's file for a snapshot, and the snapshot's file for a new volume."""
    driver.SNAPSHOTS_ARE_INDEPENDENT = True
    driver.create_snapshot = functools.partial(_create_snapshot, driver)
    driver.delete_snapshot = functools.partial(_delete_snapshot, driver)
    driver.create_volume_from_snapshot = functools.partial(_create_volume, driver)


def grow_in_use(driver: Any) -> None:
    """Let the driver extend attached volumes. It refuses that because of qcow2 files (bug 1870367)."""
    driver.extend_volume = functools.partial(_extend, driver, driver.extend_volume)


def _create_snapshot(driver: Any, snapshot: Any) -> None:
    """Raises InvalidVolume for a volume that is attached, as its copy would not be of one point in time."""
    from cinder import exception

    volume = snapshot.volume
    if driver._is_volume_attached(volume):
        raise exception.InvalidVolume(reason="a snapshot is a copy of the file, so the volume must be detached first")
    path = _file(driver, volume, snapshot.name)
    if shares.is_there(path):
        raise exception.Duplicate(f"{path} already exists")
    shares.copy(driver, str(_raw_file(driver, volume)), str(path))


def _delete_snapshot(driver: Any, snapshot: Any) -> None:
    from cinder import exception

    path = _file(driver, snapshot.volume, snapshot.name)
    if not shares.is_there(path):
        raise exception.SnapshotNotFound(snapshot_id=snapshot.id)
    driver._delete(str(path))


def _create_volume(driver: Any, volume: Any, snapshot: Any) -> dict[str, str]:
    """The volume is on the share of its snapshot."""
    volume.provider_location = snapshot.volume.provider_location  # the clean-up of a failed copy needs it
    source = _file(driver, snapshot.volume, snapshot.name)
    target = source.with_name(volume.name)
    shares.copy(driver, str(source), str(target))
    _grow(driver, target, volume.size)
    return {"provider_location": volume.provider_location}


def _extend(driver: Any, extend: Any, volume: Any, size: int) -> None:
    from cinder import exception

    if not driver._is_volume_attached(volume):
        extend(volume, size)
        return
    path = _raw_file(driver, volume)
    if not driver._is_share_eligible(volume.provider_location, size - volume.size):
        raise exception.ExtendVolumeError(reason=f"not enough space on {volume.provider_location}")
    _grow(driver, path, size)


def _grow(driver: Any, path: Path, size: int) -> None:
    """To at least this size in GiB; never smaller."""
    driver._execute("truncate", "-s", f">{size}G", str(path), run_as_root=driver._execute_as_root)


def _raw_file(driver: Any, volume: Any) -> Path:
    """Raises InvalidVolume if a qcow2 file of one of Cinder's snapshots contains the newer data."""
    from cinder import exception

    path = _file(driver, volume, volume.name)
    if shares.is_there(path.with_name(f"{path.name}.info")):
        raise exception.InvalidVolume(reason=f"{path} has snapshots in qcow2 files, which are not supported")
    return path


def _file(driver: Any, volume: Any, name: str) -> Path:
    """The file on the volume's share."""
    driver._ensure_share_mounted(volume.provider_location)
    return Path(driver._local_volume_dir(volume)) / name
