"""Remove Cinder's lock files, which are named after volumes and snapshots and would accumulate."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import Any

from csi_cinderlib.observe import logs

_log = logs.logger(__name__)


def forget(driver: Any, *, volume_id: str = "", snapshot_id: str = "") -> None:
    """Remove the lock files of deleted objects, as Cinder's `clean_volume_file_locks` and `clean_snapshot_file_locks` do."""
    if volume_id:
        _remove(f"{volume_id}-delete_volume", volume_id, f"{volume_id}-detach_volume")
        _clean(driver.clean_volume_file_locks, volume_id)
    if snapshot_id:
        _remove(f"{snapshot_id}-delete_snapshot")
        _clean(driver.clean_snapshot_file_locks, snapshot_id)


def _remove(own: str, *others: str) -> None:
    """Call Cinder's functions for the files that exist. They lock and log for each name, and usually there is no file.

    They use oslo's lock path, which is that of the last Runtime; the locks of the volume manager are in that of the first one.

    Args:
        own: the name of the volume manager's lock.
        others: names of locks that a driver may use.
    """
    from cinder import coordination, utils
    from oslo_config import cfg

    if os.path.lexists(f"{coordination.COORDINATOR._file_path}{own}"):
        coordination.synchronized_remove(glob.escape(own))  # an id chosen by a user may contain wildcards
    latest = f"{cfg.CONF.oslo_concurrency.lock_path}/cinder-"
    for name in (own, *others):
        if os.path.lexists(latest + name.replace(os.sep, "_")):
            utils.synchronized_remove(name)


def _clean(clean: Callable[[str], object], id: str) -> None:
    """Let the driver remove the files of its own locks. A failure hinders nothing."""
    try:
        clean(glob.escape(id))  # Cinder treats its argument as a pattern
    except Exception as error:
        _log.warning("lock files of the driver kept", id=id, reason=str(error))
