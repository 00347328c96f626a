"""Remove Cinder's lock files, which are named after volumes and snapshots and would accumulate."""

from __future__ import annotations

import glob
from typing import Any


def forget(driver: Any, *, volume_id: str = "", snapshot_id: str = "") -> None:
    """Remove the lock files of deleted objects. Cinder only logs failures.

    Cinder's functions use oslo's lock path, which is that of the last Runtime; the locks are in that of the first one.
    """
    from cinder import coordination, utils

    # Cinder treats its argument as a pattern; an id chosen by a user of the library may contain wildcards.
    volume_id, snapshot_id = glob.escape(volume_id), glob.escape(snapshot_id)
    if volume_id:
        coordination.synchronized_remove(f"{volume_id}-delete_volume")
        utils.clean_volume_file_locks(volume_id, driver)
    if snapshot_id:
        coordination.synchronized_remove(f"{snapshot_id}-delete_snapshot")
        utils.clean_snapshot_file_locks(snapshot_id, driver)
