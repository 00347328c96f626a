"""Volume files on the shares of Cinder's NFS driver and its derivatives (`remotefs`), which do not check whether a file exists.

Creating a volume truncates or overwrites an existing file. Deleting a volume succeeds without a file, for example if the server's
disk is not mounted.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Any

_KIND = "RemoteFSDriver"
_DELETES_BY_RM = frozenset({"NfsDriver", _KIND})
"""Classes whose `delete_volume` removes the volume's file with `rm -f`."""


def has_shares(driver: Any) -> bool:
    return any(cls.__name__ == _KIND for cls in type(driver).__mro__)


def deletes_by_rm(driver: Any) -> bool:
    definer = next((cls.__name__ for cls in type(driver).__mro__ if "delete_volume" in vars(cls)), "")
    return definer in _DELETES_BY_RM


def clone_by_copy(driver: Any) -> None:
    """Let the driver clone without a temporary snapshot. If killed, it would leave a qcow2 file in place of the source.

    The driver refuses attached sources in both cases. The caller extends the clone afterwards.
    """
    driver._always_use_temp_snap_when_cloning = False
    driver._copy_volume_image = functools.partial(copy, driver)
    driver._extend_volume = lambda _volume, _size: None


def copy(driver: Any, source: str, target: str) -> None:
    """Copy a file and keep its holes, which Cinder's copy would fill.

    `cp` reports what a server refuses when a file is closed, and does not look for a format in the content; qemu-img does neither. An
    earlier target is removed first, since the program of a process that was killed may still write to it.

    Raises:
        InvalidVolume: the source was changed meanwhile, so that the copy is not of one point in time.
    """
    from cinder import exception

    _check_space(source, target)
    before = _version(source)
    driver._execute(
        "cp", "--sparse=always", "--remove-destination", source, target, run_as_root=driver._execute_as_root
    )
    if _version(source) != before:
        raise exception.InvalidVolume(reason=f"{source} was changed while it was copied")
    driver._set_rw_permissions(target)


def place(volume: Any, location: str) -> None:
    """Store the share of a volume before its file is made, for the clean-up of an attempt that is interrupted."""
    volume.provider_location = location
    with volume.obj_as_admin():
        volume.save()


def _check_space(source: str, target: str) -> None:
    """A copy that fails for lack of space would take it from attached volumes meanwhile."""
    from cinder import exception

    needed = Path(source).stat().st_blocks * 512
    found = os.statvfs(Path(target).parent)
    if needed > found.f_bavail * found.f_frsize:
        raise exception.VolumeDriverException(f"No space left on the share for a copy of {needed} bytes: {target}")


def _version(path: str) -> tuple[int, int]:
    """The time of the last change and the size, as the server knows them."""
    with contextlib.suppress(PermissionError), Path(path).open("rb"):
        pass  # NFS revalidates both at each open
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


def find_file(driver: Any, name: str) -> Path | None:
    """The file with that name on one of the driver's shares."""
    driver._ensure_shares_mounted()
    paths = (Path(driver._get_mount_point_for_share(share)) / name for share in driver._mounted_shares)
    return next(filter(is_there, paths), None)


def misses_file(driver: Any, volume: Any) -> bool:
    """Whether the file to be deleted does not exist."""
    if not volume.provider_location:
        return True
    driver._ensure_share_mounted(volume.provider_location)
    path = Path(driver._local_volume_dir(volume)) / volume.name
    return not is_there(path) and not is_there(path.with_name(f"{path.name}.info"))


def is_there(path: Path) -> bool:
    """Also False without permission: the driver's commands may have more privileges."""
    try:
        path.lstat()
    except (FileNotFoundError, PermissionError):
        return False
    return True
