"""Raw volume files of Cinder's NFS driver: snapshots that are copies, and growth while a volume is attached.

Cinder's driver puts a qcow2 file over the volume's own with each snapshot. The kernel attaches raw files only, so such a volume
could not be attached any more. Volumes with such snapshots, from other installations, are left to Cinder's methods.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any

from csi_cinderlib.cinder import shares


def copy_snapshots(driver: Any) -> None:
    """Let the driver copy the volume's file for a snapshot, and the snapshot's file for a new or reverted volume."""
    driver.create_snapshot = MethodType(create_snapshot, driver)
    driver.delete_snapshot = _unless_overlay(driver, delete_snapshot)
    driver.create_volume_from_snapshot = _unless_overlay(driver, create_volume_from_snapshot)
    driver.revert_to_snapshot = MethodType(revert_to_snapshot, driver)


def grow_in_use(driver: Any) -> None:
    """Let the driver extend attached volumes. It refuses that because of qcow2 files (bug 1870367).

    Nor does it look for the format of a detached volume's file in its content, which belongs to the volume's user.
    """
    cinders = driver.extend_volume

    def extend_volume(volume: Any, size: int) -> None:
        if driver._is_volume_attached(volume) or _is_raw(driver, volume):
            _extend(driver, volume, size)
        else:
            cinders(volume, size)

    driver.extend_volume = extend_volume


def create_snapshot(driver: Any, snapshot: Any) -> None:
    """Raises InvalidVolume for a volume that is attached, as its copy would not be of one point in time."""
    from cinder import exception

    volume = snapshot.volume
    if driver._is_volume_attached(volume):
        raise exception.InvalidVolume(reason="a snapshot is a copy of the file, so the volume must be detached first")
    source = _raw_file(driver, volume)
    _copy_new(driver, source, source.with_name(snapshot.name))


def delete_snapshot(driver: Any, snapshot: Any) -> None:
    from cinder import exception

    path = _file(driver, snapshot.volume, snapshot.name)
    if not shares.is_there(path):
        raise exception.SnapshotNotFound(snapshot_id=snapshot.id)
    driver._delete(str(path))


def create_volume_from_snapshot(driver: Any, volume: Any, snapshot: Any) -> dict[str, str]:
    driver._ensure_shares_mounted()
    volume.admin_metadata["format"] = "raw"  # else the driver would look for a format in the content
    shares.place(volume, driver._find_share(volume))
    path = _file(driver, volume, volume.name)
    _copy_new(driver, _file(driver, snapshot.volume, snapshot.name), path)
    _grow(driver, path, volume.size)
    return {"provider_location": volume.provider_location}


def revert_to_snapshot(driver: Any, context: Any, volume: Any, snapshot: Any) -> None:  # noqa: ARG001  # Cinder's signature
    """The volume's file is replaced at once by a complete copy of the snapshot."""
    path = _raw_file(driver, volume)
    copy = path.with_name(f"{path.name}.reverted")
    shares.copy(driver, str(_file(driver, volume, snapshot.name)), str(copy))
    _grow(driver, copy, volume.size)
    driver._execute("mv", "-f", str(copy), str(path), run_as_root=driver._execute_as_root)


def _unless_overlay(driver: Any, ours: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a snapshot, the last argument; Cinder's for a snapshot in a qcow2 file."""
    cinders = getattr(driver, ours.__name__)

    @functools.wraps(ours)
    def method(*arguments: Any) -> Any:
        snapshot = arguments[-1]
        return cinders(*arguments) if snapshot.id in _info(driver, snapshot.volume) else ours(driver, *arguments)

    return method


def _copy_new(driver: Any, source: Path, target: Path) -> None:
    from cinder import exception

    if shares.is_there(target):
        raise exception.Duplicate(f"{target} already exists")
    shares.copy(driver, str(source), str(target))


def _extend(driver: Any, volume: Any, size: int) -> None:
    from cinder import exception

    path = _raw_file(driver, volume)
    if not driver._is_share_eligible(volume.provider_location, size - volume.size):
        raise exception.ExtendVolumeError(reason=f"not enough space on {volume.provider_location}")
    _grow(driver, path, size)


def _grow(driver: Any, path: Path, size: int) -> None:
    """To at least this size in GiB; never smaller."""
    driver._execute("truncate", "-s", f">{size}G", str(path), run_as_root=driver._execute_as_root)


def _raw_file(driver: Any, volume: Any) -> Path:
    """Raises InvalidVolume if the data of the volume is in qcow2 files."""
    from cinder import exception

    path = _file(driver, volume, volume.name)
    if not _is_raw(driver, volume):
        raise exception.InvalidVolume(reason=f"the data of {path} is in qcow2 files, which are not supported")
    return path


def _is_raw(driver: Any, volume: Any) -> bool:
    """Whether the volume's own file is raw and contains all its data."""
    others = {name: value for name, value in _info(driver, volume).items() if (name, value) != ("active", volume.name)}
    return not others and volume.admin_metadata.get("format") != "qcow2"


def _info(driver: Any, volume: Any) -> dict[str, str]:
    """Cinder's table of the volume's qcow2 files: snapshot ids to files, and the one in use under `active`."""
    info: dict[str, str] = driver._read_info_file(
        str(_file(driver, volume, f"{volume.name}.info")), empty_if_missing=True
    )
    return info


def _file(driver: Any, volume: Any, name: str) -> Path:
    """The file on the volume's share."""
    driver._ensure_share_mounted(volume.provider_location)
    return Path(driver._local_volume_dir(volume)) / name
