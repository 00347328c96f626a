"""The device of a connection: os-brick's keys, as the result of its `connect_volume`, and the keys of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csi_cinderlib.brick import Device, ForeignDevice

_OURS = ("path", "wwid", "multipath", "file", "info")


def stored(device: Device) -> dict[str, Any]:
    """The keys of os-brick's connector (`path`, `type`, `scsi_wwn`, `multipath_id` ...) beside our own.

    `path` is the block device that a program opens: the multipath map, or the loop device of a file. `info` contains os-brick's keys
    without changes, which it needs to disconnect. Older records have its keys only there.
    """
    ours = {name: getattr(device, name) for name in _OURS if name != "info"}
    return {**device.info, "type": "block", **ours, "info": dict(device.info)}


def loaded(known: Mapping[str, Any] | None) -> Device | None:
    """The device as the initiator needs it; of `stored`, or of another program's os-brick."""
    if not known:
        return None
    if "wwid" not in known:
        return ForeignDevice(path=str(known.get("path", "")), info=dict(known))
    return Device(**{name: known[name] for name in _OURS if name in known})
