"""The device of a connected volume on this node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
