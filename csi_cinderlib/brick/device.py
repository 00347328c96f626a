"""The device of a connected volume on this node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_cinderlib.errors import HostError
from csi_cinderlib.host import devices, kernel
from csi_cinderlib.host.patience import of_process
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


def flush(device: Device) -> None:
    """Write the kernel's dirty blocks to the storage, if the device still exists and is writable.

    Raises:
        HostError: a write failed; the data is not safe.
        NoAnswer: the share of the device's file does not respond; nothing was started.
        OperationPending: the storage has not taken all data yet; the flush continues.
    """
    path, patience = device.path, of_process()
    if device.file:  # a flush to a dead share would never end, and keep the device open
        with kernel.named(f"cannot flush {path}"), contextlib.suppress(FileNotFoundError):
            patience.look(path, "file", lambda: kernel.ask_for(device.file))
    if devices.is_block_device(path) and not is_another(device) and not devices.is_read_only(path):
        patience.carry_out(path, lambda: devices.flush(path))


def check_readable(device: Device) -> None:
    """Read the first sector, as Cinder does after an attach. Raises HostError."""
    with kernel.named(f"cannot read {device.path}"), kernel.opened(device.path, os.O_RDONLY) as fd:
        os.pread(fd, devices.SECTOR, 0)
