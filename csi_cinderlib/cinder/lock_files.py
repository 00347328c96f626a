"""Lock files of Cinder's: named by volume and snapshot, so that they would pile up."""

from __future__ import annotations

import glob
from typing import Any


def forget(driver: Any, *, volume_id: str = "", snapshot_id: str = "") -> None:
    """Remove those of what was deleted. Cinder only logs what fails here.

    Cinder's functions look in oslo's lock path. That is the last Runtime's, and the locks lie where the first one put them.
    """
    from cinder import coordination, utils

    # Cinder takes what it is given for a pattern; an id that a user of the library has chosen may be one.
    volume_id, snapshot_id = glob.escape(volume_id), glob.escape(snapshot_id)
    if volume_id:
        coordination.synchronized_remove(f"{volume_id}-delete_volume")
        utils.clean_volume_file_locks(volume_id, driver)
    if snapshot_id:
        coordination.synchronized_remove(f"{snapshot_id}-delete_snapshot")
        utils.clean_snapshot_file_locks(snapshot_id, driver)
