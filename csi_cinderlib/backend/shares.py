"""Files of volumes on the shares of Cinder's NFS driver and its kin (`remotefs`), which do not look before they act.

To create a volume truncates or overwrites the file that is there, and to delete one answers success where there is none, as on a server
whose disk is not mounted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_KIND = "RemoteFSDriver"
_DELETES_BY_RM = frozenset({"NfsDriver", _KIND})
"""Classes whose `delete_volume` removes the volume's file by `rm -f`."""


def has_shares(driver: Any) -> bool:
    return any(cls.__name__ == _KIND for cls in type(driver).__mro__)


def deletes_by_rm(driver: Any) -> bool:
    definer = next((cls.__name__ for cls in type(driver).__mro__ if "delete_volume" in vars(cls)), "")
    return definer in _DELETES_BY_RM


def find_file(driver: Any, name: str) -> Path | None:
    """The file of that name on one of the driver's shares."""
    driver._ensure_shares_mounted()
    paths = (Path(driver._get_mount_point_for_share(share)) / name for share in driver._mounted_shares)
    return next(filter(_is_there, paths), None)


def misses_file(driver: Any, volume: Any) -> bool:
    """Whether the driver is going to delete a file that is not there."""
    if not volume.provider_location:
        return True
    driver._ensure_share_mounted(volume.provider_location)
    path = Path(driver._local_volume_dir(volume)) / volume.name
    return not _is_there(path) and not _is_there(path.with_name(f"{path.name}.info"))


def _is_there(path: Path) -> bool:
    """False also where this process may not look: the driver's commands may have more rights."""
    try:
        path.lstat()
    except (FileNotFoundError, PermissionError):
        return False
    return True
