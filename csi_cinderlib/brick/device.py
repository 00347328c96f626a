"""The device of a connected volume on this node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel
from csi_cinderlib.model.records import NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A connected volume.

    Attributes:
        path: the block device, such as `/dev/sdb`, `/dev/dm-3`, `/dev/loop7`. It may change after a reboot.
        wwid: the device's identity, independent of its path; "" if it has none (see `host.devices.identity`).
        multipath: whether it is a multipath map.
        file: the backing file of a loop device, else "".
        info: os-brick's device info, which it needs to disconnect.
    """

    path: str
    wwid: str = ""
    multipath: bool = False
    file: str = ""
    info: Mapping[str, object] = field(default=NOTHING, repr=False)


class ForeignDevice(Device):
    """A volume connected by another program, which has recorded os-brick's device info only: no identity and no loop device."""


def is_another(device: Device) -> bool:
    """Whether the recorded path is a different device or does not exist."""
    if isinstance(device, ForeignDevice):
        return not os.path.exists(device.path)  # noqa: PTH110
    try:
        return devices.identity(device.path) != device.wwid
    except HostError:
        return True


def check_readable(device: Device) -> None:
    """Read the first sector, as Cinder does after an attach. Raises HostError."""
    with kernel.named(f"cannot read {device.path}"), kernel.opened(device.path, os.O_RDONLY) as fd:
        os.pread(fd, devices.SECTOR, 0)
