"""Volume files on the shares of Cinder's NFS driver and its derivatives (`remotefs`), which do not check whether a file exists.

Creating a volume truncates or overwrites an existing file. Deleting a volume succeeds without a file, for example if the server's
disk is not mounted.
"""

from __future__ import annotations

import contextlib
import functools
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

    Raises:
        InvalidVolume: the source was changed meanwhile, so that the copy is not of one point in time.
    """
    from cinder import exception
    from cinder.image import image_utils

    before = _version(source)
    image_utils.convert_image(source, target, "raw", src_format="raw", run_as_root=driver._execute_as_root)
    if _version(source) != before:
        raise exception.InvalidVolume(reason=f"{source} was changed while it was copied")
    driver._set_rw_permissions(target)


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
