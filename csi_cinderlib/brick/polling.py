"""Finds a new iSCSI disk as soon as the kernel and udev show it, where os-brick sleeps for a second.

os-brick looks for the disk right after a scan, and for its WWN right after it found the disk (`ISCSIConnector._connect_vol` and
`_connect_single_volume`, os-brick 7.1). The kernel still probes the disk at the first moment and udev has not linked it at the
second, so both looks fail on a healthy host. Each failure costs a sleep of one second, with the lock held that serializes all attaches
of the host. Here the first of each look polls for at most that second instead; later looks and the rescans between them stay os-brick's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_LOOKS = ("device_name_by_hctl", "get_sysfs_wwn")
_SECONDS = 1.0
_INTERVAL = 0.01


def poll_for_disks(connector: Any) -> None:
    """Change this one connector of os-brick."""
    scsi = connector._linuxscsi
    for name in _LOOKS:
        setattr(scsi, name, _polled(getattr(scsi, name)))


def _polled(look: Callable[..., Any]) -> Callable[..., Any]:
    """Poll when called with new arguments; look once when they are known."""
    known: set[str] = set()

    def polled(*arguments: Any, **options: Any) -> Any:
        key = repr((arguments, options))
        deadline = time.monotonic() + (0.0 if key in known else _SECONDS)
        known.add(key)
        while not (found := look(*arguments, **options)) and time.monotonic() < deadline:
            time.sleep(_INTERVAL)
        return found

    return polled
